"""Card files of every kind, read leniently and written strictly: PNG and APNG, JSON, CHARX; YAML is read alone. Knows
no database.

A card in a PNG stands in a text chunk `ccv3` (V3) or `chara` (V1, V2) as base64 of JSON; programs differ in how they
pack it and where they put it.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from anime_ai.encodings import decode
from anime_ai.errors import PersonaError
from anime_ai.persona import charx, png
from anime_ai.persona.card import Card, Mend, card_of, dump_json, is_card, parse_json
from anime_ai.persona.worlds import is_world, world_of
from anime_ai.persona.written import is_written, parse_written

SUFFIXES = (".png", ".apng", ".json", ".yaml", ".yml", ".charx", ".jpg", ".jpeg", ".zip")
FORMS = ("png", "json", "charx")
KEYWORDS = ("ccv3", "chara")
"""The newer one is looked at first, whichever stands first in the file."""
MAIN = "assets/icon/image/main.png"
"""Where a CHARX that is written here has its picture."""
MOST_JSON = 16 * 2**20
MOST_FILE = 128 * 2**20
"""Bytes of a file that is read whole."""
_PICTURE = (png.SIGNATURE, b"\xff\xd8\xff", b"RIFF")


@dataclass(frozen=True)
class Found:
    """What a file held: a card or, where that is None, a world book; what was mended; the picture, "" bytes where
    there is none; the other files of a CHARX."""

    card: Card | None
    world: Mapping[str, Any] | None = None
    mends: tuple[Mend, ...] = ()
    picture: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)


def read(content: bytes) -> Found:
    """The card or the world book in a file of any kind, told by its content and not by its name.

    Raises PersonaError that says what is wrong: no card in it, broken, too large, a bomb, a name that leads out.
    """
    if content.startswith(png.SIGNATURE):
        value, noticed = _in_png(content)
        card, mends = card_of(value)
        return Found(card, None, (*noticed, *mends), png.bare(content))
    if charx.is_charx(content):
        return _in_charx(content)
    if content.startswith((*_PICTURE, b"GIF8")):
        raise PersonaError("persona.no_data")
    said = _decoded(content)
    value = parse_written(said) if is_written(said) else parse_json(said)
    if is_card(value):
        card, mends = card_of(value)
        return Found(card, None, mends, _inline(value))
    if is_world(value):
        world, mends = world_of(value)
        return Found(None, world, mends)
    raise PersonaError("persona.no_data")


def write(card: Card, form: str, picture: bytes, files: Mapping[str, bytes] | None = None) -> bytes:
    """The card as a file: `picture` a PNG, `files` what a CHARX has beside it. Raises PersonaError for another form."""
    if form == "json":
        return dump_json(card.value)
    if form == "png":
        card, carried = _into_chunks(card, files or {})
        texts = [("chara", card.as_v2()), ("ccv3", card.value)]
        told = [(name, base64.b64encode(dump_json(value))) for name, value in texts]
        return png.with_texts(picture, [*told, *carried])
    if form == "charx":
        card, files = out_of_chunks(card, picture, files or {})
        picture = png.bare(picture, files=False)
        if MAIN not in files and not _has_icon(card, files):
            files[MAIN] = picture
            asset = {"type": "icon", "uri": f"embeded://{MAIN}", "name": "main", "ext": "png"}
            card = card.changed(assets=[*_others(card), asset])
        return charx.pack(dump_json(card.value), files)
    raise PersonaError("persona.form", form=form[:20], known="、".join(FORMS))


def _in_png(content: bytes) -> tuple[Any, list[Mend]]:
    """The JSON of the first chunk that holds some: those of `ccv3` before those of `chara`."""
    told = [one for one in png.texts(content) if one.keyword.lower() in KEYWORDS]
    if not told:
        raise PersonaError("persona.no_data")
    mends: list[Mend] = []
    failed: PersonaError | None = None
    for one in sorted(told, key=lambda text: KEYWORDS.index(text.keyword.lower())):
        try:
            value = parse_json(_unwrapped(one.content, mends))
        except PersonaError as error:
            failed = failed or error
            continue
        if is_card(value):
            if failed is not None:
                mends.append(Mend(one.keyword, "other_chunk"))
            return value, mends
        failed = failed or PersonaError("persona.no_data")
    raise failed or PersonaError("persona.no_data")


def _unwrapped(content: bytes, mends: list[Mend]) -> str:
    """Base64 taken off; some programs leave it out, break its lines, or drop its padding."""
    packed = re.sub(rb"\s+", b"", content).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=\0")
    try:
        return _decoded(base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True))
    except (binascii.Error, ValueError):
        pass
    if content.lstrip()[:1] == b"{":
        mends.append(Mend("chara", "not_base64"))
        return _decoded(content)
    raise PersonaError("persona.base64")


def _decoded(content: bytes) -> str:
    if len(content) > MOST_JSON:
        raise PersonaError("persona.too_large", size=len(content) // 2**20, most=MOST_JSON // 2**20)
    try:
        return decode(content).text
    except (UnicodeDecodeError, LookupError, ValueError) as error:
        raise PersonaError("persona.not_json", why=str(error)[:120]) from error


def _in_charx(content: bytes) -> Found:
    archive = charx.unpack(content)
    card, mends = card_of(parse_json(_decoded(archive.card)))
    icons = [one for one in assets_of(card) if one.get("type") == "icon"]
    icons.sort(key=lambda one: one.get("name") != "main")
    named = (archive.files.get(name_inside(one)) for one in icons)
    shown = [one for name, one in sorted(archive.files.items()) if "icon" in name and one.startswith(_PICTURE)]
    picture = next((one for one in (*named, archive.front, *shown) if one), b"")
    return Found(card, None, mends, picture, archive.files)


def assets_of(card: Card) -> list[dict[str, Any]]:
    return [one for one in card.data.get("assets") or () if isinstance(one, dict)]


def name_inside(asset: Mapping[str, Any]) -> str:
    """The name in the zip that an asset's address leads to; the specification spells it with one d."""
    return re.sub("^embedd?ed://", "", str(asset.get("uri", "")))


def _into_chunks(card: Card, files: Mapping[str, bytes]) -> tuple[Card, list[tuple[str, bytes]]]:
    """The files of a CHARX as text chunks of a PNG, and the card that names them there."""
    numbered = {name: str(number) for number, name in enumerate(sorted(files))}
    chunks = [(f"{png.ASSET.decode()}:{number}", base64.b64encode(files[name])) for name, number in numbered.items()]
    assets = [
        {**one, "uri": f"__asset:{numbered[name_inside(one)]}"} if name_inside(one) in numbered else one
        for one in card.data.get("assets") or ()
    ]
    return (card.changed(assets=assets) if chunks and assets else card), chunks


def out_of_chunks(card: Card, picture: bytes, files: Mapping[str, bytes]) -> tuple[Card, dict[str, bytes]]:
    """The files that stand in chunks of a PNG beside those of a CHARX, and the card that names them there."""
    inside = dict(files)
    names: dict[str, str] = {}
    for one in png.texts(picture):
        number = one.keyword.removeprefix(f"{png.ASSET.decode()}:")
        if number == one.keyword:
            continue
        kinds = {one.get("uri"): str(one.get("ext") or "bin") for one in assets_of(card)}
        suffix = re.sub("[^a-z0-9]", "", kinds.get(f"__asset:{number}", "bin").lower())[:8] or "bin"
        name = f"assets/other/other/{len(names)}.{suffix}"
        try:
            inside[name] = base64.b64decode(one.content)
        except (binascii.Error, ValueError):
            continue
        names[f"__asset:{number}"] = f"embeded://{name}"
    if not names:
        return card, inside
    assets = [{**one, "uri": names.get(str(one.get("uri")), one.get("uri"))} for one in assets_of(card)]
    return (card.changed(assets=assets) if assets else card), inside


def _has_icon(card: Card, files: Mapping[str, bytes]) -> bool:
    return any(one.get("type") == "icon" and name_inside(one) in files for one in assets_of(card))


def _others(card: Card) -> list[dict[str, Any]]:
    """A card's assets but for the one that stands for the picture beside it."""
    return [one for one in assets_of(card) if not (one.get("type") == "icon" and one.get("uri") == "ccdefault:")]


def _inline(value: Mapping[str, Any]) -> bytes:
    """A picture that a JSON card carries as a data address."""
    said = value.get("avatar")
    if not (isinstance(said, str) and said.startswith("data:image/") and ";base64," in said[:64]):
        return b""
    try:
        return base64.b64decode(said.partition(",")[2], validate=True)
    except (binascii.Error, ValueError):
        return b""


def as_png(picture: bytes) -> bytes:
    """A picture as a PNG: one that is stays to the byte (an APNG keeps moving). Raises AnimeAIError."""
    if picture.startswith(png.SIGNATURE):
        return png.bare(picture)
    from anime_ai.vision.pictures import read_picture

    made = io.BytesIO()
    drawn = read_picture(picture)
    drawn.info.clear()
    drawn.save(made, "PNG")
    return made.getvalue()


def plain_picture(name: str) -> bytes:
    """A picture for a card that has none: two colours, by the name."""
    from PIL import Image

    hue = zlib.crc32(name.encode("utf-8", "replace")) % 256
    top = Image.new("HSV", (1, 2))
    top.putdata([(hue, 70, 240), ((hue + 40) % 256, 120, 190)])
    made = io.BytesIO()
    top.convert("RGB").resize((400, 600), Image.Resampling.BICUBIC).save(made, "PNG")
    return made.getvalue()
