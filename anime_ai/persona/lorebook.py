"""Lorebooks: which of their entries a turn calls up, why, and what of them fits. Knows neither files nor prompts.

Specification: character-card-spec-v3, "Lorebook" and "Decorators"; what it leaves open is as SillyTavern's world info
does it. Keys with Chinese, Japanese or Korean characters match anywhere, after width, case and traditional characters
are folded; others at the bounds of ASCII words; regular expressions where they are written `/…/flags`.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from anime_ai.knowledge.tokens import folded
from anime_ai.persona.macros import hidden_keys
from anime_ai.persona.patterns import is_pattern, pattern
from anime_ai.persona.placing import Place

SCAN_DEPTH = 4
"""Messages that are looked at where a book does not say, the question among them."""
BUDGET = 400
"""Tokens where a book does not say."""
MOST_KEYS = 64
PATTERN_SECONDS = 0.5
"""For all patterns of one turn; those that come later are passed over."""
ROUNDS = 16
"""Of recursion; more than any book needs."""
LOGICS = ("any", "not_all", "not_any", "all")
"""What is asked of the secondary keys, in the order of SillyTavern's numbers."""
SECTIONS = ("before_desc", "after_desc", "personality", "scenario")
"""Places by the parts of a card, of the decorator `@@position`."""
_DECORATOR = re.compile(r"@@@?([a-z_]+)(?:[ \t]+(.*))?")
KNOWN = frozenset(
    "depth role scan_depth position activate dont_activate additional_keys exclude_keys "
    "activate_only_after activate_only_every constant".split()
)
"""Decorators that say something here; others are taken off and say nothing, as the specification wants it."""
_OWN_CHARACTER = re.compile("[\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0002ffff]")


@dataclass(frozen=True)
class Entry:
    """An entry as it is looked for. `depth`: how far from the end SillyTavern would put it, None where it stands with
    the card. `every`, `after`: of the character's messages, 0 for always. `scan_depth` 0 sees no message. `hidden`:
    words that call up other entries and are not told. `section`: the part of the card that it asks to stand by."""

    id: str
    name: str
    content: str
    keys: tuple[str, ...] = ()
    secondary: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    logic: str = "any"
    enabled: bool = True
    constant: bool = False
    never: bool = False
    order: int = 100
    priority: int = 0
    position: str = "before_char"
    depth: int | None = None
    role: str = "system"
    scan_depth: int | None = None
    exact_case: bool = False
    whole_words: bool = True
    probability: int = 100
    after: int = 0
    every: int = 0
    section: str = ""
    excludes_recursion: bool = False
    prevents_recursion: bool = False
    only_recursion: bool = False
    hidden: str = ""

    @property
    def stands(self) -> bool:
        """Whether it is told always, by a part of the card: the card can hold it, and no turn has to."""
        always = self.constant and not self.never and self.after == 0 and self.every <= 1 and self.probability >= 100
        return bool(self.section and always and self.enabled and not self.only_recursion and self.content.strip())


@dataclass(frozen=True)
class Book:
    """A lorebook's entries in their order. `budget`: tokens, None for the app's."""

    name: str
    entries: tuple[Entry, ...]
    scan_depth: int = SCAN_DEPTH
    budget: int | None = None
    recursive: bool = False


@dataclass(frozen=True)
class Hit:
    """An entry that fired. `why`: "constant", "key" or "pattern"; `by`: the key, or what a pattern matched; `through`:
    the name of the entry whose text held it. `left_out`: "" where it is told, else "budget" or "told". `place`: where
    it stands, None for before the question."""

    book: str
    entry: Entry
    content: str
    why: str
    by: str = ""
    through: str = ""
    tokens: int = 0
    left_out: str = ""
    place: Place | None = None


@dataclass(frozen=True)
class Lore:
    """What fired, those that are told in the order in which they are; `slow`: patterns whose time was over, `broken`:
    patterns that cannot be used."""

    hits: tuple[Hit, ...] = ()
    slow: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def told(self) -> tuple[Hit, ...]:
        return tuple(hit for hit in self.hits if not hit.left_out)


@dataclass
class _Scan:
    """One look through the books at one turn."""

    messages: Sequence[str]
    turn: int
    seed: str
    fired: dict[tuple[int, int], Hit] = field(default_factory=dict)
    slow: dict[str, None] = field(default_factory=dict)
    broken: dict[str, None] = field(default_factory=dict)
    spent: float = 0.0

    def matches(self, entry: Entry, key: str, text: str) -> str:
        """What of `text` a key matches, "" for nothing."""
        if is_pattern(key):
            if self.spent > PATTERN_SECONDS:
                self.slow[key] = None
                return ""
            began = time.perf_counter()
            found, why = pattern(key).found_in(text)
            self.spent += time.perf_counter() - began
            if why:
                (self.slow if why == "slow" else self.broken)[key] = None
            return found
        if entry.exact_case:
            return key if _stands(key, text, entry.whole_words) else ""
        return key if _stands(_key(key), _text(text), entry.whole_words) else ""

    def first(self, entry: Entry, keys: Iterable[str], text: str) -> str:
        return next((found for key in keys if (found := self.matches(entry, key, text))), "")

    def asked(self, entry: Entry, text: str) -> tuple[str, str] | None:
        """Why an entry fires on a text: ("key", the key) or ("pattern", what it matched); None where it does not."""
        found = key = ""
        for key in entry.keys:
            if found := self.matches(entry, key, text):
                break
        if not found or (entry.secondary and not self._also(entry, text)):
            return None
        if self.first(entry, entry.excluded, text):
            return None
        return ("pattern" if is_pattern(key) else "key"), found

    def _also(self, entry: Entry, text: str) -> bool:
        """Whether the secondary keys allow it."""
        held = [bool(self.matches(entry, key, text)) for key in entry.secondary]
        return {"any": any(held), "all": all(held), "not_any": not any(held), "not_all": not all(held)}[entry.logic]

    def allowed(self, entry: Entry) -> bool:
        """Whether an entry may fire at this turn at all."""
        if not entry.enabled or entry.never or not entry.content.strip() or self.turn < entry.after:
            return False
        if entry.every > 1 and self.turn % entry.every:
            return False
        if entry.probability >= 100:
            return True
        drawn = f"{self.seed}\0{self.turn}\0{entry.id}\0{entry.name}".encode("utf-8", "surrogatepass")
        return random.Random(drawn).random() * 100 < entry.probability


def scan(
    books: Sequence[Book],
    messages: Sequence[str],
    count: Callable[[str], int],
    *,
    fill: Callable[[str], str] = str,
    budget: int = BUDGET,
    told: Iterable[str] = (),
    seed: str = "",
    turn: int = 0,
) -> Lore:
    """What the books say to a turn.

    `messages`: what was said, oldest first, the question last. `count` counts tokens, `fill` fills macros, `budget` is
    in tokens for all books together, beside each book's own. `told`: contents that stand in the prompt already.
    `seed` and `turn`, the number of her answers so far, decide what has a probability.
    """
    look = _Scan(messages, turn, seed)
    for place, book in enumerate(books):
        _look(look, place, book, fill)
    known = frozenset(told)
    hits = {place: replace(hit, left_out="told") if hit.content in known else hit for place, hit in look.fired.items()}
    kept = _within(books, hits, count, budget)
    kept.sort(key=lambda one: (bool(one[1].left_out), *_order(one[1].entry), one[0]))
    return Lore(tuple(hit for _, hit in kept), tuple(look.slow), tuple(look.broken))


def _look(look: _Scan, place: int, book: Book, fill: Callable[[str], str]) -> None:
    """Fire the entries of one book: on what was said, then, where it says so, on the texts of those that fired."""
    waiting = {number: entry for number, entry in enumerate(book.entries) if look.allowed(entry)}
    filled = {number: _filled(entry, fill) for number, entry in waiting.items()}
    fresh: dict[int, Hit] = {}
    for number, entry in filled.items():
        if entry.only_recursion:
            continue
        if entry.constant:
            fresh[number] = Hit(book.name, entry, entry.content, "constant")
            continue
        depth = book.scan_depth if entry.scan_depth is None else entry.scan_depth
        said = "\n".join(look.messages[-depth:]) if depth > 0 else ""
        if asked := look.asked(entry, said):
            fresh[number] = Hit(book.name, entry, entry.content, *asked)
    for _ in range(ROUNDS):
        look.fired |= {(place, number): hit for number, hit in fresh.items()}
        sources = [hit for hit in fresh.values() if not hit.entry.prevents_recursion]
        if not book.recursive or not sources:
            return
        fresh = {}
        for number, entry in filled.items():
            if (place, number) in look.fired or entry.excludes_recursion:
                continue
            for hit in sources:
                if asked := look.asked(entry, hit.entry.hidden + hit.content):
                    fresh[number] = Hit(book.name, entry, entry.content, *asked, through=hit.entry.name or hit.by)
                    break


def _filled(entry: Entry, fill: Callable[[str], str]) -> Entry:
    keys, secondary, excluded = (
        tuple(key if is_pattern(key) else fill(key) for key in keys)
        for keys in (entry.keys, entry.secondary, entry.excluded)
    )
    hidden = "".join(f"{fill(key)}\n" for key in hidden_keys(entry.content))
    content = fill(entry.content)
    same = (content, keys, secondary, excluded) == (entry.content, entry.keys, entry.secondary, entry.excluded)
    if same and not hidden:
        return entry  # most are: to copy each takes longer than to look at it
    return replace(entry, content=content, keys=keys, secondary=secondary, excluded=excluded, hidden=hidden)


def _within(
    books: Sequence[Book], hits: Mapping[tuple[int, int], Hit], count: Callable[[str], int], budget: int
) -> list[tuple[tuple[int, int], Hit]]:
    """The hits with their tokens and places; what is over a budget is left out, the least important first."""
    left = [budget if book.budget is None else book.budget for book in books]
    made: list[tuple[tuple[int, int], Hit]] = []
    ranked = sorted(hits.items(), key=lambda one: (not one[1].entry.constant, *_rank(one[1].entry), one[0]))
    for place, hit in ranked:
        book = place[0]
        counted = replace(hit, tokens=count(hit.content))
        if not hit.left_out and counted.tokens > min(budget, left[book]):
            counted = replace(counted, left_out="budget")
        elif not hit.left_out:
            left[book] -= counted.tokens
            budget -= counted.tokens
        made.append((place, counted))
    return made


def _rank(entry: Entry) -> tuple[int, int]:
    """What goes first where room is short: by priority, else as SillyTavern has it, by what stands nearer the end."""
    return -entry.priority, -entry.order


def _order(entry: Entry) -> tuple[int, int, int]:
    """Where an entry stands among those that are told: with the card before it, then after it, then by depth."""
    place = 2 if entry.depth is not None else 0 if entry.position == "before_char" else 1
    return place, -(entry.depth or 0), entry.order


_key = lru_cache(maxsize=50_000)(folded)
_text = lru_cache(maxsize=256)(folded)
"""Keys are the same turn after turn, and so are the messages that a turn looks back on."""


def _stands(key: str, text: str, whole: bool) -> bool:
    """Whether a key stands in a text: one with characters of its own anywhere, another one at the bounds of words."""
    key = key.strip()
    at = text.find(key) if key else -1
    if at < 0 or not whole or _OWN_CHARACTER.search(key):
        return at >= 0
    while at >= 0:
        before, behind = text[at - 1 : at], text[at + len(key) : at + len(key) + 1]
        if not (_joined(before, key[0]) or _joined(key[-1], behind)):
            return True
        at = text.find(key, at + 1)
    return False


def _joined(sign: str, following: str) -> bool:
    """Whether two neighbours belong to one ASCII word."""
    return all(one.isascii() and (one.isalnum() or one == "_") for one in (sign, following))


def book_from(value: Mapping[str, Any], name: str = "") -> Book:
    """A book out of its JSON, as `anime_ai.persona.card.book_of` gives it."""
    entries = tuple(entry_from(one, str(place)) for place, one in enumerate(value.get("entries") or ()))
    depth, budget = value.get("scan_depth"), value.get("token_budget")
    return Book(
        str(value.get("name") or name),
        entries,
        max(0, _number(depth, SCAN_DEPTH)),
        None if budget is None else max(0, _number(budget, BUDGET)),
        bool(value.get("recursive_scanning")),
    )


def entry_from(value: Mapping[str, Any], place: str = "0") -> Entry:
    """An entry out of its JSON: the decorators at the head of its content are taken off and heeded."""
    extensions = value.get("extensions") or {}
    content, told = decorators(str(value.get("content", "")))
    silly = _number(extensions.get("position"), -1)
    keys = (*_words(value.get("keys")), *_listed(told.get("additional_keys")))
    secondary = _words(value.get("secondary_keys")) if value.get("selective") else ()
    logic = LOGICS[min(3, max(0, _number(extensions.get("selectiveLogic"), 0)))]
    depth = _number(extensions.get("depth"), 4) if silly == 4 else None
    position = "after_char" if silly == 1 else str(value.get("position") or "before_char")
    section = told["position"] if told.get("position") in SECTIONS else ""
    if section:
        position = "before_char" if section == "before_desc" else "after_char"
    scan = told.get("scan_depth", extensions.get("scan_depth"))
    role = ("system", "user", "assistant")[min(2, max(0, _number(extensions.get("role"), 0)))]
    exact = extensions.get("case_sensitive") if value.get("case_sensitive") is None else value["case_sensitive"]
    chance = _number(extensions.get("probability"), 100) if extensions.get("useProbability", True) else 100
    return Entry(
        id=str(value.get("id", place)),
        name=str(value.get("name") or value.get("comment") or (keys[0] if keys else "")),
        content=content,
        keys=keys[:MOST_KEYS],
        secondary=secondary[:MOST_KEYS],
        excluded=_listed(told.get("exclude_keys"))[:MOST_KEYS],
        logic=logic,
        enabled=bool(value.get("enabled", True)),
        constant=bool(value.get("constant")) or "activate" in told or "constant" in told,
        never="dont_activate" in told,
        order=_number(value.get("insertion_order"), 100),
        priority=_number(value.get("priority"), 0),
        position=position,
        section=section,
        depth=_number(told.get("depth"), 0) if "depth" in told else depth,
        role=told["role"] if told.get("role") in ("system", "user", "assistant") else role,
        scan_depth=None if scan is None else max(0, _number(scan, SCAN_DEPTH)),
        exact_case=bool(exact),
        whole_words=extensions.get("match_whole_words") is not False,
        probability=chance,
        after=_number(told.get("activate_only_after"), 0),
        every=_number(told.get("activate_only_every"), 0),
        excludes_recursion=bool(extensions.get("exclude_recursion")),
        prevents_recursion=bool(extensions.get("prevent_recursion")),
        only_recursion=bool(extensions.get("delay_until_recursion")),
    )


def decorators(content: str) -> tuple[str, dict[str, str]]:
    """A content without the decorators at its head, and those that are known; `@@@` ones stand in for an unknown one
    above them."""
    told: dict[str, str] = {}
    lines = content.split("\n")
    heads, missed = 0, False
    for line in lines:
        found = _DECORATOR.fullmatch(line.strip())
        if found is None:
            break
        heads += 1
        fallback = line.strip().startswith("@@@")
        if fallback and not missed:
            continue
        missed = found[1] not in KNOWN
        if not missed:
            told.setdefault(found[1], (found[2] or "").strip())
    return "\n".join(lines[heads:]), told


def _words(value: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in value if str(one).strip()) if isinstance(value, list) else ()


def _listed(value: str | None) -> tuple[str, ...]:
    return tuple(one.strip() for one in (value or "").replace("，", ",").split(",") if one.strip())


def _number(value: Any, otherwise: int) -> int:
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return otherwise
