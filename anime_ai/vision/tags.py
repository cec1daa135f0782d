"""What the tags of anime pictures mean, in three languages and by groups. Knows no picture and no model.

`tags.tsv` holds a tag a line: its name as Danbooru has it, its group, the words for it in Chinese and Japanese. The
English words are the name's own.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("tags.tsv")
GROUPS = (
    *("people", "hair_colour", "hair_style", "eyes", "expression", "body", "clothes", "accessories", "pose", "object"),
    *("scene", "framing", "style"),
)
"""In the order in which a person tells them."""
OTHER = "object"
"""The group of a word that the table does not have."""


@dataclass(frozen=True)
class Meaning:
    """A tag's name, its group, and the words for it in Chinese, Japanese and English."""

    name: str
    group: str
    zh: str
    ja: str

    @property
    def en(self) -> str:
        return self.name.replace("_", " ") if len(self.name) > 3 else self.name

    def word(self, language: str) -> str:
        return str(getattr(self, language))


@cache
def table() -> Mapping[str, Meaning]:
    """Every tag that has a meaning here, by its name."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return {meaning.name: meaning for meaning in (Meaning(*line.split("\t")) for line in lines)}


def word(name: str, language: str) -> str:
    """The word for a tag; its own name where the table does not have it."""
    found = table().get(name)
    return found.word(language) if found else name.replace("_", " ")


def named(said: str, group: str = "") -> str:
    """The name of the tag that `said` means in any of the languages or as people say it, else `said` itself.

    Where several do, one of `group` goes first, then the Chinese word: 和服 is a kimono here, and Japanese dress there.
    """
    said = " ".join(said.split())
    found = _words().get(said.casefold()) or tuple(table()[name] for name in _asked().get(said.casefold(), ()))
    best = min(found, key=lambda one: (one.group != group, one.zh != said), default=None)
    return best.name if best else said


def spotted(said: str) -> tuple[list[frozenset[str]], list[str]]:
    """What a search asks for: for each word that is known in it the tags that the word may mean, the longest word
    first, and what is left over. 银发红瞳 asks for silver hair and for red eyes."""
    known, longest = _asked(), max(map(len, _asked()))
    found: list[frozenset[str]] = []
    rest = [""]
    text, place = said.casefold(), 0
    for short, whole in _SHORT.items():
        text = text.replace(short, whole)
    while place < len(text):
        length = next((size for size in range(longest, 0, -1) if _whole(text, place, size, known)), 0)
        if length:
            found.append(frozenset(known[text[place : place + length]]))
            rest.append("")
        else:
            rest[-1] += text[place]
        place += length or 1
    return list(dict.fromkeys(found)), [bare for bare in (part.strip(_BETWEEN) for part in rest) if bare]


def _whole(text: str, place: int, size: int, known: Container[str]) -> bool:
    """Whether a known word stands there; one in Latin letters is no part of a longer one."""
    end = place + size
    if end > len(text) or text[place:end] not in known:
        return False
    before, after = text[place - 1 : place], text[end : end + 1]
    return not any(
        side.isascii() and side.isalnum() and inside.isascii() and inside.isalnum()
        for side, inside in ((before, text[place]), (after, text[end - 1]))
    )


_BETWEEN = " ,，、。.;；/|+的和与有"
_HAIR = ("发", "髮", "毛", "头发", "的头发", "色头发", "色的头发", "色发", "髪")
_EYES = ("瞳", "眼", "眼睛", "的眼睛", "色眼睛", "色的眼睛", "色瞳孔", "瞳孔", "目")
_COLOURS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "银": (("grey_hair", "white_hair"), ("grey_eyes",)),
    "灰": (("grey_hair",), ("grey_eyes",)),
    "白": (("white_hair", "grey_hair"), ("white_eyes",)),
    "黑": (("black_hair",), ("black_eyes",)),
    "金": (("blonde_hair",), ("yellow_eyes",)),
    "黄": (("blonde_hair",), ("yellow_eyes",)),
    "棕": (("brown_hair",), ("brown_eyes",)),
    "茶": (("brown_hair",), ("brown_eyes",)),
    "褐": (("brown_hair",), ("brown_eyes",)),
    "红": (("red_hair",), ("red_eyes",)),
    "赤": (("red_hair",), ("red_eyes",)),
    "橙": (("orange_hair",), ("orange_eyes",)),
    "橘": (("orange_hair",), ("orange_eyes",)),
    "粉": (("pink_hair",), ("pink_eyes",)),
    "紫": (("purple_hair",), ("purple_eyes",)),
    "蓝": (("blue_hair",), ("blue_eyes",)),
    "青": (("aqua_hair", "blue_hair"), ("aqua_eyes", "blue_eyes")),
    "绿": (("green_hair",), ("green_eyes",)),
}
"""How people who search name colours: the hair and the eyes that each may mean."""
_SHORT = {"黑长直": "黑发长发", "白长直": "白发长发"}
_SAID: Mapping[str, tuple[str, ...]] = {
    "眼镜娘": ("glasses",),
    "猫娘": ("cat_ears", "cat_girl"),
    "兽耳": ("animal_ears", "cat_ears", "fox_ears", "rabbit_ears", "dog_ears", "wolf_ears"),
    "双马尾": ("twintails",),
    "单马尾": ("ponytail",),
    "马尾": ("ponytail", "side_ponytail"),
    "丸子头": ("double_bun", "hair_bun", "single_hair_bun"),
    "麻花辫": ("twin_braids", "single_braid", "braid"),
    "姬发": ("hime_cut",),
    "女仆": ("maid", "maid_dress"),
    "水手服": ("serafuku", "sailor_collar"),
    "校服": ("school_uniform", "serafuku", "blazer"),
    "哭": ("crying", "tears"),
    "笑": ("smile", "laughing", "grin"),
    "生气": ("angry",),
    "害羞": ("embarrassed", "blush"),
    "星空": ("night_sky", "starry_sky"),
    "樱花": ("cherry_blossoms",),
    "教室": ("classroom",),
    "海边": ("ocean", "beach"),
    "花田": ("flower_field",),
}
"""Other words for which people who search mean one of several tags."""


@cache
def _asked() -> Mapping[str, tuple[str, ...]]:
    """Every word that a search may hold, with the tags that it means."""
    known = {said: tuple(one.name for one in meanings) for said, meanings in _words().items() if len(said) > 1}
    spoken = [(said, names) for said, names in _SAID.items()]
    for colour, (hair, eyes) in _COLOURS.items():
        spoken += [(colour + stem, hair) for stem in _HAIR] + [(colour + stem, eyes) for stem in _EYES]
    for said, names in spoken:
        known[said] = tuple(dict.fromkeys((*known.get(said, ()), *names)))
    return known


@cache
def _words() -> Mapping[str, tuple[Meaning, ...]]:
    known: dict[str, tuple[Meaning, ...]] = {}
    for meaning in table().values():
        for said in {meaning.zh, meaning.ja, meaning.en, meaning.name}:
            known[said.casefold()] = (*known.get(said.casefold(), ()), meaning)
    return known
