"""Cards in every packing that is met with, made by hand, and random ones for properties."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

from PIL import Image

from anime_ai.persona.card import dump_json

Chunk = tuple[bytes, bytes]


def png(before: Sequence[Chunk] = (), behind: Sequence[Chunk] = (), size: int = 24) -> bytes:
    """A PNG with chunks before and behind its picture's data."""
    made = io.BytesIO()
    Image.new("RGB", (size, size), (120, 80, 200)).save(made, "PNG")
    whole = made.getvalue()
    first, end = whole.index(b"IDAT") - 4, whole.index(b"IEND") - 4
    parts = [whole[:first], *map(packed, before), whole[first:end], *map(packed, behind), whole[end:]]
    return b"".join(parts)


def packed(chunk: Chunk) -> bytes:
    kind, data = chunk
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encoded(value: Any) -> bytes:
    return base64.b64encode(dump_json(value))


def text(keyword: str, content: bytes) -> Chunk:
    return b"tEXt", keyword.encode() + b"\0" + content


def packed_text(keyword: str, content: bytes) -> Chunk:
    return b"zTXt", keyword.encode() + b"\0\0" + zlib.compress(content)


def international(keyword: str, content: bytes, pack: bool = False) -> Chunk:
    body = zlib.compress(content) if pack else content
    return b"iTXt", keyword.encode() + b"\0" + (b"\1" if pack else b"\0") + b"\0\0\0" + body


def v1(**changed: str) -> dict[str, Any]:
    card = {"name": "小花", "description": "一只猫。", "personality": "爱睡觉", "scenario": "窗台上"}
    return {**card, "first_mes": "喵？", "mes_example": "<START>\n{{user}}: 早\n{{char}}: 喵。", **changed}


def v2(**changed: Any) -> dict[str, Any]:
    data = {**v1(), "creator_notes": "", "system_prompt": "", "post_history_instructions": "", "creator": "甲"}
    data |= {"alternate_greetings": ["早。"], "tags": ["猫"], "character_version": "1", "extensions": {"depth": 4}}
    return {"spec": "chara_card_v2", "spec_version": "2.0", "data": {**data, **changed}}


def v3(**changed: Any) -> dict[str, Any]:
    card = v2(**{"group_only_greetings": [], "nickname": "花花", **changed})
    return {**card, "spec": "chara_card_v3", "spec_version": "3.0"}


def charx(card: Any, files: dict[str, bytes] | None = None, front: bytes = b"") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("card.json", json.dumps(card, ensure_ascii=False))
        for name, content in (files or {}).items():
            archive.writestr(name, content)
    return front + made.getvalue()


WORDS = ("猫", "雪国", "cat", "{{user}}", "<b>", "\n", "“”", "🐈", "\\", '"', "0", "＃", "𠮷", "é", " ", "null")


def random_text(chance: random.Random, most: int = 8) -> str:
    return "".join(chance.choice(WORDS) for _ in range(chance.randint(0, most)))


def random_value(chance: random.Random, deep: int = 0) -> Any:
    """Any JSON value."""
    kinds = [None, True, False, chance.randint(-(10**12), 10**12), chance.uniform(-9, 9), random_text(chance), 0.0, ""]
    if deep < 3:
        kinds.append([random_value(chance, deep + 1) for _ in range(chance.randint(0, 3))])
        kinds.append(random_object(chance, deep + 1))
    return chance.choice(kinds)


def random_object(chance: random.Random, deep: int = 0) -> dict[str, Any]:
    return {
        f"x{chance.randint(0, 99)}{chance.choice(WORDS)}": random_value(chance, deep)
        for _ in range(chance.randint(0, 4))
    }


def random_card(seed: int) -> dict[str, Any]:
    """A card of V1, V2 or V3 with keys that no specification knows, at every level."""
    chance = random.Random(seed)
    spec = chance.choice((1, 2, 3))
    data: dict[str, Any] = {name: random_text(chance) for name in v1()}
    data["name"], data["description"] = f"角色{seed}", data["description"] or "她。"
    if spec == 1:
        return {**data, **random_object(chance)}
    texts = ("creator_notes", "system_prompt", "post_history_instructions", "creator", "character_version")
    data |= {name: random_text(chance) for name in texts}
    data |= {name: [random_text(chance) for _ in range(3)] for name in ("alternate_greetings", "tags")}
    data["extensions"] = random_object(chance)
    if chance.random() < 0.6:
        data["character_book"] = random_book(chance)
    if spec == 3:
        data["group_only_greetings"] = [random_text(chance)]
        data["assets"] = [{"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png", **random_object(chance)}]
        data["creator_notes_multilingual"] = {"en": random_text(chance)}
        data["source"] = [random_text(chance)]
        data["creation_date"] = chance.randint(0, 10**9)
    data |= random_object(chance)
    return {"spec": f"chara_card_v{spec}", "spec_version": f"{spec}.0", "data": data, **random_object(chance)}


def random_book(chance: random.Random) -> dict[str, Any]:
    entries = [
        {
            "keys": [random_text(chance, 2) for _ in range(chance.randint(0, 3))],
            "content": random_text(chance),
            "extensions": random_object(chance),
            "enabled": chance.random() < 0.8,
            "insertion_order": chance.randint(0, 200),
            "use_regex": False,
            **({"position": chance.choice(("before_char", "after_char"))} if chance.random() < 0.5 else {}),
            **random_object(chance),
        }
        for _ in range(chance.randint(0, 4))
    ]
    return {"entries": entries, "extensions": random_object(chance), "scan_depth": 3, **random_object(chance)}
