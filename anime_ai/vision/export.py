"""Pictures and what is seen in them as a caption dataset, in the form that image-LoRA trainers read. Knows no album.

Beside every picture a `.txt` of the same name (kohya's sd-scripts, OneTrainer and ai-toolkit read those), and one
`metadata.jsonl` with `file_name` and `text` (Hugging Face's ImageFolder, which diffusers' scripts read).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal
from zipfile import ZIP_STORED, ZipFile

from anime_ai.vision.album import Shown
from anime_ai.vision.observation import Observation
from anime_ai.vision.tags import GROUPS, word

Form = Literal["tags", "zh", "en"]
"""Danbooru's tags with commas between them, or the sentence in Chinese or English."""
FORMS: tuple[Form, ...] = ("tags", "zh", "en")
METADATA = "metadata.jsonl"
MOST_STEM = 60


def caption(seen: Observation, form: Form, trigger: str = "") -> str:
    """What is written beside a picture, behind the trigger word where there is one."""
    if form == "tags":
        ordered = [tag.name for group in GROUPS for tag in seen.grouped().get(group, ())]
        said = ", ".join(word(name, "en") for name in ordered)
    else:
        # A sentence that a model wrote is English.
        said = " ".join(part for part in (seen.written if form == "en" else "", seen.listed(form)) if part)
    return ("，" if form == "zh" else ", ").join(part for part in (trigger.strip(), said) if part)


def write(pictures: Iterable[Shown], place: Path, form: Form, trigger: str = "") -> int:
    """Write a ZIP of the pictures whose file is there; their number. Raises OSError."""
    lines: list[str] = []
    used: set[str] = {Path(METADATA).stem}
    with ZipFile(place, "w", ZIP_STORED) as archive:  # WebP does not get smaller
        for shown in pictures:
            if not shown.path.is_file():
                continue
            stem = _stem(shown.name, used)
            name, text = f"{stem}{shown.path.suffix}", caption(shown.seen, form, trigger)
            archive.write(shown.path, name)
            archive.writestr(f"{stem}.txt", text + "\n")
            lines.append(json.dumps({"file_name": name, "text": text}, ensure_ascii=False))
        archive.writestr(METADATA, "".join(f"{line}\n" for line in lines))
    return len(lines)


def _stem(name: str, used: set[str]) -> str:
    """A name that every file system takes and no other picture has."""
    bare = re.sub(r'[<>:"/\\|?*\x00-\x1f]+', "_", Path(name).stem).strip(" .")[:MOST_STEM] or "picture"
    stem, number = bare, 1
    while stem.casefold() in used:
        number += 1
        stem = f"{bare}-{number}"
    used.add(stem.casefold())
    return stem
