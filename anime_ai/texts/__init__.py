"""What the app says, in the reader's language.

A text is a key and `str.format` placeholders. Each room has a file of its own, `<room>.zh.json` and so on
beside this file, with the same keys (a test checks it). Knows nothing of Gradio, of requests or of errors.
"""

from __future__ import annotations

import json
import locale
import os
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = ("zh", "en", "ja")


@cache
def catalogue(language: str) -> dict[str, str]:
    """All texts of one language. Raises KeyError for a language that is not in `LANGUAGES`."""
    if language not in LANGUAGES:
        raise KeyError(language)
    texts: dict[str, str] = {}
    for file in sorted(Path(__file__).parent.glob(f"*.{language}.json")):
        texts.update(json.loads(file.read_text(encoding="utf-8")))
    return texts


@cache
def process_language() -> str:
    """`ANIME_AI_LANGUAGE`, else the locale's language, else Chinese."""
    named = os.environ.get("ANIME_AI_LANGUAGE", "")
    if named in LANGUAGES:
        return named
    spoken = os.environ.get("LC_ALL") or os.environ.get("LANG") or locale.getlocale()[0] or ""
    return spoken[:2].lower() if spoken[:2].lower() in LANGUAGES else "zh"


def pick_language(accept: str | None) -> str:
    """The best of `LANGUAGES` for an Accept-Language header such as "en-GB,en;q=0.9,zh;q=0.5"."""
    ranked: list[tuple[float, str]] = []
    for part in (accept or "").split(","):
        tag, _, weight = part.strip().partition(";q=")
        try:
            ranked.append((-float(weight or 1), tag[:2].lower()))
        except ValueError:
            continue
    return next((tag for _, tag in sorted(ranked, key=lambda item: item[0]) if tag in LANGUAGES), "zh")


def text(key: str, language: str | None = None, **values: Any) -> str:
    """The text of `key`, filled with `values`. Raises KeyError for a key that no catalogue has."""
    return catalogue(language or process_language())[key].format(**values)
