"""The pictures of a card's feelings: which of its assets are some, and a card with others. Knows no database.

They are assets of the type `emotion` (character-card-spec-v3, "assets"): files of a CHARX, text chunks of a PNG, or
data addresses in the card itself. A picture is bytes here, as it came; nothing decodes it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from anime_ai.persona import png
from anime_ai.persona.card import Card
from anime_ai.persona.feelings import FEELINGS, NAMES, feeling_named
from anime_ai.persona.files import assets_of, name_inside, out_of_chunks

KIND = "emotion"
DATA = "data:image/"
MOST_DATA = 16 * 2**20
"""Characters of a picture that stands in the card itself."""
PLAIN = {"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"}
"""What the specification takes for a card without assets."""


def sprites_of(card: Card, picture: bytes, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The picture of each feeling that a card has one of; of several the one whose name comes first in `NAMES`."""
    named, inside = _where(card, picture, files)
    found: dict[str, tuple[int, bytes]] = {}
    for asset in _emotions(named):
        feeling, content = _feeling(asset), _content(asset, inside)
        if feeling and content:
            rank = _rank(feeling, str(asset.get("name")))
            if feeling not in found or rank < found[feeling][0]:
                found[feeling] = (rank, content)
    return {feeling: found[feeling][1] for feeling in FEELINGS if feeling in found}


def with_sprites(
    card: Card, picture: bytes, files: Mapping[str, bytes], sprites: Mapping[str, bytes], within: bool = False
) -> tuple[Card, bytes, dict[str, bytes]]:
    """The card, picture and files with WebP pictures for the feelings that it has none of. `within`: they stand in the
    card itself, for a form that has no files."""
    have = {} if within else sprites_of(card, picture, files)
    new = {feeling: content for feeling, content in sprites.items() if feeling not in have}
    if not new:
        return card, picture, dict(files)
    card, inside = _where(card, picture, files)
    if picture.startswith(png.SIGNATURE):
        picture = png.bare(picture, files=False)
    kept = [one for one in assets_of(card) if not (one.get("type") == KIND and _feeling(one) in new)] or [PLAIN]
    for feeling, content in new.items():
        name = f"assets/{KIND}/image/{feeling}.webp"
        uri = f"embeded://{name}"
        if within:
            uri = f"{DATA}webp;base64,{base64.b64encode(content).decode()}"
        else:
            inside[name] = content
        kept.append({"type": KIND, "uri": uri, "name": NAMES[feeling].split()[0], "ext": "webp"})
    return card.changed(assets=kept), picture, inside


def without_sprite(
    card: Card, picture: bytes, files: Mapping[str, bytes], feeling: str
) -> tuple[Card, bytes, dict[str, bytes]]:
    """The card, picture and files without any picture of a feeling; the same where there is none."""
    if not any(_feeling(one) == feeling for one in _emotions(card)):
        return card, picture, dict(files)
    card, inside = _where(card, picture, files)
    if picture.startswith(png.SIGNATURE):
        picture = png.bare(picture, files=False)
    kept = [one for one in assets_of(card) if not (one.get("type") == KIND and _feeling(one) == feeling)]
    gone = {name_inside(one) for one in assets_of(card)} - {name_inside(one) for one in kept}
    left = {name: content for name, content in inside.items() if name not in gone}
    return card.changed(assets=kept or None), picture, left


def faceless(card: Card) -> Any:
    """A card's JSON without its emotions: what is compared to know it again."""
    kept = [one for one in card.data.get("assets") or () if not (isinstance(one, dict) and one.get("type") == KIND)]
    data = {name: value for name, value in card.data.items() if name != "assets"}
    return {**card.value, "data": {**data, **({"assets": kept} if kept not in ([], [PLAIN]) else {})}}


def _where(card: Card, picture: bytes, files: Mapping[str, bytes]) -> tuple[Card, dict[str, bytes]]:
    """All files of a card under names of a CHARX, and the card that calls them so."""
    if not picture.startswith(png.SIGNATURE):
        return card, dict(files)
    return out_of_chunks(card, picture, files)


def _emotions(card: Card) -> list[dict[str, Any]]:
    return [one for one in assets_of(card) if one.get("type") == KIND]


def _feeling(asset: Mapping[str, Any]) -> str:
    return feeling_named(str(asset.get("name") or ""))


def _rank(feeling: str, name: str) -> int:
    names = NAMES[feeling].split()
    return names.index(name.strip().lower()) if name.strip().lower() in names else len(names)


def _content(asset: Mapping[str, Any], inside: Mapping[str, bytes]) -> bytes:
    uri = str(asset.get("uri") or "")
    if not uri.startswith(DATA):
        return inside.get(name_inside(asset), b"")
    kind, _, packed = uri.partition(",")
    if not kind.endswith(";base64") or len(packed) > MOST_DATA:
        return b""
    try:
        return base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        return b""
