"""What was seen in a picture, and how it is told. Knows no picture and no model.

The sentence is made of the tags by rule, the same for the same tags: a prompt and a caption must not change from one
look to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from anime_ai.vision.tags import GROUPS, OTHER, named, spotted, table, word

SURE = 0.7
"""The confidence from which a tag is told as it stands; below it, it is told as what may be."""
MOST_TOLD: Mapping[str, int] = {"people": 2, "hair_style": 2, "clothes": 3, "accessories": 4, "object": 3}
"""Tags of a group that a sentence tells, one where nothing is said here."""
RATINGS = ("general", "sensitive", "questionable", "explicit")
UNTOLD = ("solo", "male_focus", "other_focus", "no_humans", "looking_at_viewer", "artist_name", "signature")
"""True, but nobody would say so."""


@dataclass(frozen=True)
class Tag:
    """A tag by its name, its group, and how likely it is, from 0 to 1."""

    name: str
    group: str
    confidence: float = 1.0

    @property
    def sure(self) -> bool:
        return self.confidence >= SURE


@dataclass(frozen=True)
class Known:
    """A character of the gallery that the picture may show. `similarity`: cosine; `sure` False: perhaps her."""

    id: str
    name: str
    similarity: float
    sure: bool


@dataclass(frozen=True)
class Observation:
    """What was seen. `caption` is what a model wrote, gone where a person told otherwise; `rating` is one of RATINGS,
    "" where nothing judged it; `colours` are `#rrggbb`, most of it first; `models` have looked."""

    caption: str = ""
    tags: tuple[Tag, ...] = ()
    characters: tuple[Known, ...] = ()
    rating: str = ""
    colours: tuple[str, ...] = ()
    models: tuple[str, ...] = ()

    def grouped(self) -> dict[str, list[Tag]]:
        """The tags by group, groups in the order of telling, the likeliest tag first."""
        found = {group: [tag for tag in self.tags if tag.group == group] for group in GROUPS}
        return {group: sorted(tags, key=lambda tag: -tag.confidence) for group, tags in found.items() if tags}

    def corrected(self, group: str, words: Iterable[str]) -> Observation:
        """The same with other tags in `group`, told by a person in any language, so they are sure."""
        names = dict.fromkeys(named(said, group) for said in words if said.strip())
        kept = [tag for tag in self.tags if tag.group != group and tag.name not in names]
        return self._retold((*kept, *(Tag(name, group) for name in names)))

    def outside(self, groups: Iterable[str]) -> list[Tag]:
        """The tags of all groups but some, in the order of telling."""
        grouped, but = self.grouped(), set(groups)
        return [tag for group in GROUPS if group not in but for tag in grouped.get(group, ())]

    def corrected_outside(self, groups: Iterable[str], words: Iterable[str], language: str) -> Observation:
        """The same whose tags outside some groups are those of `words`, each in the group that the table has for it."""
        there = {word(tag.name, language): tag for tag in self.outside(groups)}
        told = dict.fromkeys(" ".join(said.split()) for said in words if said.strip())
        gone = {tag for said, tag in there.items() if said not in told}
        fresh = (Tag(named(said), group_of(named(said))) for said in told if said not in there)
        tags = (*(tag for tag in self.tags if tag not in gone), *fresh)
        return self._retold(tags) if tags != self.tags else self

    def told_anew(self, words: Iterable[str], language: str) -> Observation:
        """The same with the tags of these words alone, those that are new among them sure, as a person told them."""
        there = {word(tag.name, language): tag for tag in self.tags}
        told = dict.fromkeys(" ".join(said.split()) for said in words if said.strip())
        fresh = (there.get(said) or Tag(named(said), group_of(named(said))) for said in told)
        return self._retold(tuple(fresh))

    def _retold(self, tags: tuple[Tag, ...]) -> Observation:
        """With the tags of a person: a caption that says otherwise must not stand beside them."""
        return replace(self, tags=tags, caption="")

    def recognised(self, known: Known | None) -> Observation:
        """The same with the one character that a person named, or with none."""
        return replace(self, characters=(known,) if known else ())

    def sentence(self, language: str = "zh") -> str:
        """All of it in one sentence, in Chinese, English or Japanese; behind it the caption as a model wrote it, where
        it is more than a list of tags."""
        if not self.written:
            return self.listed(language)
        written = _WRITTEN[language].format(self.written)
        return self.listed(language) + written if self.tags or self.characters else written.strip()

    def listed(self, language: str = "zh") -> str:
        """Its tags and characters in one sentence."""
        return {"zh": _chinese, "en": _english, "ja": _japanese}[language](self)

    @property
    def written(self) -> str:
        """The caption where it is more than a list of tags, else ""."""
        return self.caption if _in_own_words(self.caption) else ""

    def as_json(self) -> dict[str, Any]:
        """The form of `image describe --json` and of what a message keeps."""
        return {
            "caption": self.caption,
            "sentence": self.sentence(),
            "tags": [
                {
                    "group": tag.group,
                    "tag": tag.name,
                    "zh": word(tag.name, "zh"),
                    "confidence": round(tag.confidence, 4),
                }
                for tag in self.tags
            ],
            "characters": [
                {"id": one.id, "name": one.name, "similarity": round(one.similarity, 4), "sure": one.sure}
                for one in self.characters
            ],
            "rating": self.rating,
            "colours": list(self.colours),
            "models": list(self.models),
        }


def observation_of(kept: Mapping[str, Any]) -> Observation:
    """What `as_json` gave, read back. Raises ValueError, KeyError or TypeError for anything else."""
    tags = (Tag(str(one["tag"]), str(one["group"]), float(one["confidence"])) for one in kept["tags"])
    characters = (
        Known(str(one["id"]), str(one["name"]), float(one["similarity"]), bool(one["sure"]))
        for one in kept["characters"]
    )
    return Observation(
        str(kept["caption"]),
        tuple(tags),
        tuple(characters),
        str(kept["rating"]),
        tuple(map(str, kept["colours"])),
        tuple(map(str, kept["models"])),
    )


def group_of(name: str) -> str:
    found = table().get(name)
    return found.group if found else OTHER


def _told(seen: Observation, group: str, language: str, perhaps: str) -> list[str]:
    """The words for a group's likeliest tags, unsure ones behind `perhaps`."""
    tags = [tag for tag in seen.grouped().get(group, ()) if tag.name not in UNTOLD]
    return [
        (word(tag.name, language) if tag.sure else perhaps + word(tag.name, language))
        for tag in tags[: MOST_TOLD.get(group, 1)]
    ]


def _names(seen: Observation, sure: bool) -> list[str]:
    return [one.name for one in seen.characters if one.sure == sure]


def _chinese(seen: Observation) -> str:
    """In the words that the starter learned to read (`anime_ai/starter/phrases/seeing/`)."""

    def told(group: str) -> list[str]:
        return _told(seen, group, "zh", "可能是")

    parts = [f"图里有{'和'.join(told('people')) or '一个人物'}" if _somebody(seen) else "图里没有人"]
    parts += [f"看起来是{name}" for name in _names(seen, True)] + [f"有点像{name}" for name in _names(seen, False)]
    colour, style = told("hair_colour"), told("hair_style")
    if colour:
        bare = _bare(colour[0], "头发", "发")
        parts.append(f"{bare}的{style.pop(0)}" if style else f"{bare}的头发")
    parts += style
    parts += [f"{_bare(one, '眼睛')}的眼睛" if one.endswith("眼睛") else one for one in told("eyes")]
    for group, line in _CHINESE:
        said = "、".join(told(group))
        parts.append(said if said.endswith("背景") else line.format(said) if said else "")
    return "，".join(part for part in parts if part) + "。"


_WRITTEN = {"zh": "英文描述：{}", "en": " In a sentence: {}", "ja": "英語の説明：{}"}
"""Models that write sentences write English ones."""


@lru_cache(maxsize=2_000)
def _in_own_words(caption: str) -> bool:
    """Whether a caption says anything that is no tag."""
    return bool(spotted(caption)[1])


def _bare(told: str, *ends: str) -> str:
    """A colour without what has it: 金发 and 金色头发 are both 金色."""
    for end in (*ends, "的"):
        told = told.removesuffix(end)
    return told if len(told.removeprefix("可能是")) > 1 else f"{told}色"


_CHINESE = (
    ("expression", "表情是{}"),
    ("body", "有{}"),
    ("clothes", "穿着{}"),
    ("accessories", "戴着{}"),
    ("pose", "动作是{}"),
    ("object", "画里还有{}"),
    ("scene", "背景是{}"),
    ("framing", "{}"),
    ("style", "画风是{}"),
)


def _english(seen: Observation) -> str:
    parts = [", ".join(_told(seen, "people", "en", "perhaps ")) or ("someone" if _somebody(seen) else "nobody")]
    parts += [f"this is {name}" for name in _names(seen, True)] + [f"perhaps {name}" for name in _names(seen, False)]
    parts += [told for group in GROUPS[1:] for told in _told(seen, group, "en", "perhaps ")]
    return ", ".join(parts) + "."


def _japanese(seen: Observation) -> str:
    parts = _told(seen, "people", "ja", "おそらく") or (["人物が一人"] if _somebody(seen) else ["人はいない"])
    parts += [f"{name}のようだ" for name in _names(seen, True)] + [
        f"{name}かもしれない" for name in _names(seen, False)
    ]
    parts += [told for group in GROUPS[1:] for told in _told(seen, group, "ja", "おそらく")]
    return "、".join(parts) + "。"


def _somebody(seen: Observation) -> bool:
    return not any(tag.name == "no_humans" for tag in seen.tags)
