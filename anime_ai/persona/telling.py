"""What of a card enters a prompt: its parts with macros filled in, and what is left out where there is little room.

Knows no tokenizer; who counts tokens hands that in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from anime_ai.persona.card import Card
from anime_ai.persona.macros import Macros
from anime_ai.prompting import Exchange, examples

_CHINESE = re.compile("[\u3400-\u9fff]")
_KANA = re.compile("[\u3040-\u30ff]")
_START = re.compile(r"<START>", re.IGNORECASE)
MAIN = {
    "zh": "你是{char}，正在和{user}对话。始终用{char}的身份和口吻回答，不替{user}说话。",
    "ja": "あなたは{char}です。{user}と話しています。いつも{char}として答え、{user}の代わりに話さないでください。",
    "en": "You are {char}, talking with {user}. Always answer as {char} and never speak for {user}.",
}
"""The app's own instruction, for cards without one and for `{{original}}`."""
USER = {"zh": ("用户", "你"), "ja": ("ユーザー", "あなた"), "en": ("User", "you")}
"""How the other one is called who told no name: in a description, and where she speaks to them."""
HEADS = {
    "zh": {"personality": "性格", "scenario": "场景"},
    "ja": {"personality": "性格", "scenario": "場面"},
    "en": {"personality": "Personality", "scenario": "Scenario"},
}
LEAST_CUT = 40
"""Characters of a description that are worth keeping when it is cut."""
FIELDS = ("system_prompt", "description", "personality", "scenario", "note", "post_history_instructions", "mes_example")

AROUND = {
    "description": (("before_desc",), ("after_desc",)),
    "personality": ((), ("personality",)),
    "scenario": ((), ("scenario",)),
}
"""What of lorebooks stands before and behind which field."""
RANKED = (
    *("system_line", "system_prompt", "description", "personality"),
    *("post_history_instructions", "note", "scenario"),
    *("lore_before_desc", "lore_after_desc", "lore_personality", "lore_scenario", "mes_example"),
)
"""In the order of what a character cannot do without."""


@dataclass(frozen=True)
class Part:
    """A field of the card as it is told."""

    field: str
    text: str


@dataclass(frozen=True)
class Fitted:
    """A card's text within some tokens; `dropped`: fields that had no room, `cut`: those that were shortened."""

    text: str
    parts: tuple[Part, ...]
    dropped: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()


def language_of(card: Card) -> str:
    """The language in which a card is written: "zh", "ja" or "en"."""
    said = "".join(str(card.data[name]) for name in ("description", "first_mes", "personality", "system_prompt"))
    if _KANA.search(said):
        return "ja"
    return "zh" if _CHINESE.search(said) else "en"


def macros_of(card: Card, seed: str = "", spoken: bool = False) -> Macros:
    """The macros of a card in one conversation; `spoken`: in what is said to the other one's face."""
    language = language_of(card)
    char = str(card.data.get("nickname") or card.name)
    user = str(card.own.get("user") or USER[language][spoken])
    return Macros(char, user, seed, MAIN[language].format(char=char, user=user))


def greetings_of(card: Card, seed: str = "") -> tuple[str, ...]:
    """What she may say first, macros filled in."""
    macros = macros_of(card, seed, spoken=True)
    return tuple(filled for one in card.greetings if (filled := macros.fill(one).strip()))


def examples_of(card: Card, seed: str = "") -> tuple[tuple[Exchange, ...], ...]:
    """The dialogues of `mes_example`, each between one <START> and the next; what has no speaker is passed over."""
    macros = macros_of(card, seed, spoken=True)
    speakers = re.compile(
        rf"^(?:(?P<user>\{{\{{user\}}\}}|<USER>)|(?P<char>\{{\{{char\}}\}}|<BOT>|<CHAR>|{re.escape(card.name)}))[:：]",
        re.IGNORECASE | re.MULTILINE,
    )
    found = []
    for block in _START.split(str(card.data["mes_example"])):
        exchanges: list[Exchange] = []
        asked = ""
        marks = list(speakers.finditer(block))
        for mark, following in zip_longest(marks, marks[1:]):
            said = macros.fill(block[mark.end() : following.start() if following else None].strip())
            if mark["user"]:
                asked = f"{asked}\n{said}".strip()
            elif asked and said:
                exchanges.append(Exchange(asked, said))
                asked = ""
            elif exchanges and said:
                last = exchanges[-1]
                exchanges[-1] = Exchange(last.user, f"{last.reply}\n{said}")
        if exchanges:
            found.append(tuple(exchanges))
    return tuple(found)


def parts_of(card: Card, seed: str = "") -> tuple[Part, ...]:
    """Everything of a card that a prompt tells, in the order in which it is told; nothing empty."""
    macros, heads = macros_of(card, seed), HEADS[language_of(card)]
    depth = card.data["extensions"].get("depth_prompt")
    told = {name: str(card.data.get(name, "")) for name in FIELDS}
    told["system_prompt"] = told["system_prompt"] if told["system_prompt"].strip() else macros.original
    told["note"] = str(depth.get("prompt") or "") if isinstance(depth, dict) else ""
    dialogues = [exchange for dialogue in examples_of(card, seed) for exchange in dialogue]
    made = []
    for name in FIELDS:
        if name == "mes_example":
            said = examples(dialogues)
        else:
            filled = macros.fill(told[name]).replace("\r\n", "\n").strip()
            said = f"{heads[name]}：{filled}" if filled and name in heads else filled
        if said:
            made.append(Part(name, said))
    return tuple(made)


def with_lore(parts: tuple[Part, ...], told: Mapping[str, str]) -> tuple[Part, ...]:
    """The parts with what lorebooks want to stand by one of them, by the sections of `anime_ai.persona.lorebook`."""
    made: list[Part] = []
    # By a part that the card does not have it stands where that part would be.
    for name in FIELDS:
        own = [part for part in parts if part.field == name]
        before, behind = AROUND.get(name, ((), ()))
        for sections, there in ((before, []), (behind, own)):
            made += there
            made += [Part(f"lore_{one}", told[one]) for one in sections if told.get(one)]
    return tuple(made)


def fitted(parts: tuple[Part, ...], count: Callable[[str], int], most: int) -> Fitted:
    """The parts within `most` tokens. Examples go first, then what stands last; the description is cut at a line."""
    left, kept = most, dict[str, str]()
    dropped: list[str] = []
    cut: list[str] = []
    for name in RANKED:
        part = next((one for one in parts if one.field == name), None)
        if part is None:
            continue
        said = part.text
        if count(said) + 2 > left:
            said = _cut(part, count, left - 2)
            (cut if said else dropped).append(name)
        if said:
            kept[name] = said
            left -= count(said) + 2
    told = tuple(Part(part.field, kept[part.field]) for part in parts if part.field in kept)
    return Fitted("\n\n".join(part.text for part in told), told, tuple(dropped), tuple(cut))


def _cut(part: Part, count: Callable[[str], int], most: int) -> str:
    """As many whole lines or exchanges of a part as fit, else as many sentences; "" where that is not worth it."""
    head = "" if part.field != "mes_example" else "\n用户："
    for pattern in (rf"(?={re.escape(head)})" if head else r"(?<=\n)", r"(?<=[。！？.!?])"):
        pieces = re.split(pattern, part.text)
        low, high = 0, len(pieces)
        while low < high:  # the longest beginning that fits
            middle = (low + high + 1) // 2
            if count("".join(pieces[:middle]).strip()) <= most:
                low = middle
            else:
                high = middle - 1
        said = "".join(pieces[:low]).strip()
        if len(said) >= LEAST_CUT and (part.field != "mes_example" or low > 1):
            return said
        if part.field == "mes_example":
            return ""
    return ""
