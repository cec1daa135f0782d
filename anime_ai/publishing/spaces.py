"""The folder of a Space in which a character waits: the app as it is, her bundle, and a front matter. Knows no hub.

https://huggingface.co/docs/hub/spaces-config-reference
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from anime_ai.config import ROOT
from anime_ai.errors import PublishError
from anime_ai.files import replaced_folder, write_bytes
from anime_ai.models.bases import STARTER
from anime_ai.persona.cards import Persona
from anime_ai.publishing.folders import size_of
from anime_ai.publishing.model_cards import plain
from anime_ai.texts import text

BUNDLE, PROGRAM = "persona.zip", "studio_app.py"
PARTS = ("anime_ai", "assets/starter", "assets/personas", "data")
FILES = ("requirements.txt", "LICENSE")
MOST_TITLE, MOST_SAID = 60, 60
_LEFT = shutil.ignore_patterns("__pycache__", "*.py[cod]", "*.partial", ".*")

APP = '''\
"""The app of this Space: Anime AI Studio with the persona of persona.zip."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("ANIME_AI_BUNDLE", str(Path(__file__).resolve().with_name("{bundle}")))
os.environ.setdefault("ANIME_AI_MODEL_NAME", "{base}")

from studio_app import main

if __name__ == "__main__":
    sys.exit(main())
'''


def make_space(persona: Persona, bundle: Path, base: str, target: Path) -> int:
    """A whole Space as the folder `target`; its size in bytes. `base`: what answers, "starter" or a Hub id, which the
    Space fetches when it is built. Raises PublishError and StorageError."""
    missing = [name for name in (*PARTS, *FILES, "app.py") if not (ROOT / name).exists()]
    if missing:
        raise PublishError("publishing.no_program", path=ROOT / missing[0])
    if base != STARTER and not re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", base):
        raise PublishError("publishing.no_hub_base", name=base[:80])
    with replaced_folder(target) as folder:
        for name in PARTS:
            shutil.copytree(ROOT / name, folder / name, ignore=_LEFT)
        for name in FILES:
            shutil.copyfile(ROOT / name, folder / name)
        shutil.copyfile(ROOT / "app.py", folder / PROGRAM)
        shutil.copyfile(bundle, folder / BUNDLE)
        write_bytes(folder / "app.py", APP.format(bundle=BUNDLE, base=base).encode())
        write_bytes(folder / "README.md", page(persona, base).encode())
    return size_of(target)


def page(persona: Persona, base: str) -> str:
    """The Space's README: front matter, and a line about who waits there."""
    ours = _front()
    models = [f"models:\n- {base}", f"preload_from_hub:\n- {base}"] if base != STARTER else []
    lines = [
        f"title: {json.dumps(' '.join(persona.character.split())[:MOST_TITLE], ensure_ascii=False)}",
        "emoji: 🌸",
        "colorFrom: pink",
        "colorTo: indigo",
        "sdk: gradio",
        f"sdk_version: {ours['sdk_version']}",
        f"python_version: {ours['python_version']}",
        "app_file: app.py",
        "license: apache-2.0",
        "hf_oauth: true",  # without it the Space's author cannot log in as the owner
        f"short_description: {json.dumps(text('publishing.space.short')[:MOST_SAID], ensure_ascii=False)}",
        *models,
    ]
    said = text("publishing.space.says", name=plain(persona.character))
    return "\n".join(["---", *lines, "---", "", f"# {plain(persona.character)}", "", said, ""])


def _front() -> dict[str, str]:
    """The versions that the project itself names for a Space."""
    content = (ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").is_file() else ""
    found = dict(re.findall(r'^(sdk_version|python_version): ("?[\d.]+"?)$', content, re.MULTILINE))
    if len(found) < 2:
        raise PublishError("publishing.no_program", path=ROOT / "README.md")
    return found
