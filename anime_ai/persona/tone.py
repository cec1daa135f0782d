"""Which feeling an answer tells, out of its words alone: logistic regression over characters and pairs of them.

`anime_ai.starter.feelings` makes the weights out of the project's own answers, which were read and labelled by hand.
They are Chinese: of an answer in another language the tone is calm. Knows no persona and no picture.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anime_ai.config import ASSETS
from anime_ai.persona.feelings import CALM, FEELINGS

if TYPE_CHECKING:
    import numpy as np

WEIGHTS = ASSETS / "starter" / "feelings" / "model.safetensors"
MOST = 400
"""Characters of an answer that are read: of a longer one the beginning and the end."""
LENGTHS = (1, 2)
"""Of the stretches of characters that are counted."""
FEWEST = 0.3
"""The share of Chinese characters among the letters of an answer below which it is in another language."""
BEGIN, END = "\ue000", "\ue001"
_SIGNS = (
    ("\ue002", re.compile(r"(\w)、\1")),
    ("\ue003", re.compile(r"[?？][!！]|[!！][?？]")),
    ("\ue004", re.compile(r"^\W*[呜欸诶咦哇啊呀哎哦噗哼呵哈]")),
    ("\ue005", re.compile(r"[（(*＊][^（()）*＊]{1,16}[）)*＊]")),
)
"""Stammering, an interrobang, an exclamation at the beginning, something that is done while speaking."""
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3041-\u309f\u30a1-\u30fa\uac00-\ud7af]")


def marked(said: str) -> str:
    """What is counted of an answer: its characters, where it begins and ends, and signs of how it is said."""
    text = said.strip().lower()
    signs = "".join(sign for sign, pattern in _SIGNS if pattern.search(text))
    return f"{BEGIN}{text}{END}{signs}"


def grams(text: str) -> Counter[str]:
    """How often each stretch of `LENGTHS` characters stands in a text."""
    return Counter(text[at : at + length] for length in LENGTHS for at in range(len(text) - length + 1))


def is_chinese(said: str) -> bool:
    """Whether an answer is in Chinese, as far as its letters tell."""
    letters = sum(one.isalpha() for one in said)
    kana = len(_KANA.findall(said))
    return bool(letters) and len(_HAN.findall(said)) >= FEWEST * letters and kana < 0.1 * letters


@dataclass(frozen=True)
class Tone:
    """The classifier. `places`: where each stretch of characters stands in `rarity` (stretches,) and in `weights`
    (feelings, stretches); `bias` (feelings,)."""

    places: Mapping[str, int]
    rarity: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Tone:
        from safetensors.numpy import load_file

        told = load_file(path)
        stretches = bytes(told["grams"]).decode("utf-8").split("\n")
        return cls(
            {one: place for place, one in enumerate(stretches)},
            told["rarity"].astype("float32"),
            told["weights"].astype("float32"),
            told["bias"].astype("float32"),
        )

    def scores(self, said: str) -> Any:
        """A number for each of `FEELINGS`; the highest is told. TF-IDF of unit length times the weights."""
        import numpy as np

        found = {self.places[one]: count for one, count in grams(marked(said)).items() if one in self.places}
        at = np.fromiter(found, np.intp, len(found))
        counted = (1 + np.log(np.fromiter(found.values(), np.float32, len(found)))) * self.rarity[at]
        length = float(np.sqrt((counted * counted).sum())) or 1.0
        return self.weights[:, at] @ (counted / length) + self.bias


@cache
def _tone() -> Tone:
    return Tone.load()


def tone_of(said: str) -> str:
    """The feeling that an answer tells, one of `FEELINGS`. Calm where nothing is said, and in other languages."""
    text = said if len(said) <= MOST else said[: MOST // 2] + said[-MOST // 2 :]
    if not is_chinese(text):
        return CALM
    return FEELINGS[int(_tone().scores(text).argmax())]
