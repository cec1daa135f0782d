"""Passages of an invented world and questions about them, whose answers are to be copied. Knows no tokens.

`phrases/reading/*.txt` holds relations; a line's first sign says what it is:

    # 生日 人 日期           a relation: its name, the kind of its subject, the kind of its value
    ~ 打雷                   a value of its own, where the kind is 短语
    = {主}的生日是{值}。     a statement
    ? {主}哪天过生日         a question that it answers

Names and numbers are drawn (`anime_ai.starter.invented`); about half of what is told are events, several words in a
sentence (`anime_ai.starter.events`). Some relations are drawn so too: what their words mean nobody knows, so that a
question has to be found again in the passage, which is what helps where it is about something that no relation here is.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from anime_ai.config import PHRASES
from anime_ai.starter import events
from anime_ai.starter.grammar import choose
from anime_ai.starter.invented import PRONOUNS, SHARES, SUBJECTS, VALUES, amount, of
from anime_ai.starter.words import common_characters

READING = PHRASES / "reading"
PHRASE, AMOUNT = "短语", "数量"
"""Kinds of values: the relation's own, and a number before a unit (数量:岁)."""
MISSING = 0.33
"""Share of the questions that several passages do not answer."""
FOUND = ("资料里写着：{}。", "资料里写着：{}。", "根据资料，是{}。")
NOT_TOLD = ("资料里没有写这个。", "资料里没有提到，我不知道。")
UNKNOWN: Mapping[str, tuple[str, ...]] = {
    "": (
        "这个我不知道，手上没有写到它的资料。",
        "没有资料提到过这个，我不知道。",
        "我不知道，也没有资料写过，不能乱说。",
    ),
    "tsundere": ("没有资料提过这个，我怎么会知道。……你找来我就看。", "不知道啦，哪份资料都没写，别瞪我。"),
    "genki": ("这个我不知道耶！没有资料写过，你找一份来我马上看！", "不知道！哪份资料都没写，我可不瞎编！"),
    "kuudere": ("不知道。没有资料提过。", "没有资料。不编。"),
    "gentle": ("这个我不知道呢，手边没有写到它的资料。", "我没有看到哪份资料提到它，不敢乱说哦。"),
}
"""What is answered where no passage came along at all, by the persona's id, "" for the neutral ones."""
VOICED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "tsundere": (
        (
            "{}。资料里写得清清楚楚，自己看啊。",
            "是{}啦。……下次自己翻，我可不是字典。",
            "资料里写着{}。我只是碰巧记得！",
        ),
        ("资料里没写这个。别看我，我又不会变出来。", "没有写啦。我翻了两遍……才不是为你翻的。"),
    ),
    "genki": (
        ("找到啦，是{}！", "资料里写着呢，{}！快夸我眼睛尖！", "{}！我一眼就看到啦！"),
        ("翻了个底朝天，资料里没有写这个！", "没有写哦！我可不乱编，要不再找一份资料！"),
    ),
    "kuudere": (
        ("资料写的是{}。", "{}。有记载。", "查到了。{}。"),
        ("资料里没有写。", "没有记载。不编。"),
    ),
    "gentle": (
        ("我看到了，写的是{}呢。", "资料里说是{}，我念给你听了。", "是{}，就在这一段里，不着急。"),
        ("我仔细看过了，资料里没有写这个呢。", "这份资料里没有提到，要不要再找一份看看？"),
    ),
}
"""What a persona answers where the passage says it, and where it does not."""


@dataclass
class Relation:
    """Something that can be said of a subject, and asked."""

    name: str
    subject: str
    value: str
    own: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Fact:
    """A sentence about a subject of some kind, and the questions that it answers, each with its answer."""

    source: str
    kind: str
    subject: str
    sentence: str
    asked: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reading:
    """Some passages and what is asked about them, each question with its answer ("" where they do not say)."""

    passages: tuple[str, ...]
    asked: tuple[tuple[str, str], ...]


def read(text: str) -> list[Relation]:
    """The relations of a text. Raises ValueError that cites a line it cannot read or a relation that lacks a part."""
    found: list[Relation] = []
    for line in text.splitlines():
        sign, rest = line[:1], line[1:].strip()
        if not line.strip() or line.startswith("//"):
            continue
        if sign == "#":
            parts = rest.split()
            if len(parts) != 3:
                raise ValueError(line)
            found.append(Relation(parts[0], parts[1], parts[2]))
            continue
        kept = {"~": "own", "=": "statements", "?": "questions"}.get(sign)
        wrong = (sign == "=" and rest.count("{主}") * rest.count("{值}") != 1) or (sign == "?" and "{主}" not in rest)
        if not found or kept is None or wrong:
            raise ValueError(line)
        getattr(found[-1], kept).append(rest)
    for relation in found:
        kind = relation.value.partition(":")[0]
        known = bool(relation.own) if kind == PHRASE else kind == AMOUNT or kind in VALUES
        if not known or relation.subject not in SUBJECTS or not relation.statements or not relation.questions:
            raise ValueError(relation.name)
    return found


@cache
def shipped() -> tuple[Relation, ...]:
    """The relations under `phrases/reading/`."""
    return tuple(one for file in sorted(READING.glob("*.txt")) for one in read(file.read_text(encoding="utf-8")))


def one_fact(chance: random.Random) -> Reading:
    """One passage of one or two statements, and some questions about them: the first lesson."""
    facts = _facts(chance, 1, chance.randint(1, 2))
    asked = dict(_asked(chance.choice(facts), chance) for _ in range(chance.randint(1, 4)))
    return Reading((_passage(facts, chance),), tuple(asked.items()))


def several(chance: random.Random) -> Reading:
    """One to three passages, each about one or two subjects; a third of the questions has no answer in them."""
    groups = [_facts(chance, subjects, chance.randint(1, 4)) for subjects in chance.choices((1, 2), (70, 30), k=3)]
    groups = groups[: chance.choices((1, 2, 3), (50, 30, 20))[0]]
    facts = [fact for group in groups for fact in group]
    # What is read once is asked about several times: the passage is what costs tokens.
    asked: dict[str, str] = {}
    for _ in range(chance.randint(2, 8)):
        said, value = _missing(facts, chance) if chance.random() < MISSING else _asked(chance.choice(facts), chance)
        asked.setdefault(said, value)
    return Reading(tuple(_passage(group, chance) for group in groups), tuple(asked.items()))


def answer(value: str, chance: random.Random, voice: str = "") -> str:
    """How `value` is told, or that the passages do not say it."""
    found, missing = VOICED[voice] if voice else (FOUND, NOT_TOLD)
    return chance.choice(found).format(value) if value else chance.choice(missing)


def _facts(chance: random.Random, subjects: int, each: int) -> list[Fact]:
    """Facts about some subjects of one kind, none of one source twice for one subject."""
    kind = chance.choices(list(SUBJECTS), SHARES)[0]
    return [fact for _ in range(subjects) for fact in _apart(kind, SUBJECTS[kind](chance), each, frozenset(), chance)]


def _apart(kind: str, subject: str, count: int, said: frozenset[str], chance: random.Random) -> list[Fact]:
    """Facts about a subject, each from another source, none of those that are `said`."""
    found: dict[str, Fact] = {}
    while len(found) < count:
        fact = _fact(kind, subject, chance)
        if fact.source not in said:
            found.setdefault(fact.source, fact)
    return list(found.values())


def _fact(kind: str, subject: str, chance: random.Random) -> Fact:
    """An event, a relation, or a relation between characters without sense."""
    if chance.random() < INVENTED:
        return _stated(_invented(kind, chance), subject, chance)
    known = [one for one in shipped() if one.subject == kind]
    if chance.random() < EVENTS or not known:
        return _happened(chance.choice(events.shipped()[kind]), subject, chance)
    return _stated(chance.choice(known), subject, chance)


def _happened(event: events.Event, subject: str, chance: random.Random) -> Fact:
    bound = event.bind(chance, subject)
    asked = tuple((events.fill(question, bound, chance), bound[slot]) for slot, question in event.questions)
    sentence = events.fill(chance.choice(event.told), bound, chance)
    return Fact(event.name, event.kind(event.about), subject, sentence, asked)


def _stated(relation: Relation, subject: str, chance: random.Random) -> Fact:
    value = _value(relation, chance)
    sentence = choose(chance.choice(relation.statements), chance).replace("{主}", subject).replace("{值}", value)
    asked = tuple((choose(text, chance).replace("{主}", subject), value) for text in relation.questions)
    return Fact(relation.name, relation.subject, subject, sentence, asked)


def _invented(kind: str, chance: random.Random) -> Relation:
    """A relation whose word and value are characters without sense."""
    word, value = of(COMMON, 1, 3)(chance), of(COMMON, 1, 6)(chance)
    statements = [text.replace("{词}", word) for text in SENSELESS]
    questions = [text.replace("{词}", word) for text in SENSELESS_ASKED]
    return Relation(word, kind, PHRASE, [value], statements, questions)


def _value(relation: Relation, chance: random.Random) -> str:
    kind, _, unit = relation.value.partition(":")
    if kind == PHRASE:
        return chance.choice(relation.own)
    return amount(unit, chance) if kind == AMOUNT else VALUES[kind](chance)


def _passage(facts: list[Fact], chance: random.Random) -> str:
    """Sentences one behind the other; a subject that was just named may be left to a pronoun."""
    sentences: list[str] = []
    named = ""
    for fact in facts:
        text = fact.sentence
        if fact.subject == named and text.startswith(named) and chance.random() < 0.5:
            text = chance.choice(PRONOUNS[fact.kind]) + text[len(named) :]
        sentences.append(text)
        named = fact.subject
    if chance.random() < 0.3:
        sentences.insert(chance.randint(0, len(sentences)), chance.choice(ASIDES))
    head = f"{named}\n" if chance.random() < 0.15 else ""
    return head + "".join(sentences)


def _asked(fact: Fact, chance: random.Random) -> tuple[str, str]:
    said, value = chance.choice(fact.asked)
    return _ended(said, chance), value


def _missing(facts: list[Fact], chance: random.Random) -> tuple[str, str]:
    """A question that no fact answers: another thing about a subject, or the same about somebody else."""
    fact = chance.choice(facts)
    if chance.random() < 0.6:
        said = frozenset(one.source for one in facts if one.subject == fact.subject)
        (other,) = _apart(fact.kind, fact.subject, 1, said, chance)
        about = [said for said, _ in other.asked if fact.subject in said]
    else:
        about = [said for said, _ in fact.asked if fact.subject in said]
        stranger = SUBJECTS[fact.kind](chance)
        about = [said.replace(fact.subject, stranger) for said in about]
    return _ended(chance.choice(about), chance), ""


def _ended(said: str, chance: random.Random) -> str:
    return said + chance.choice(("？", "？", "？", "", "?", "呢？" if said[-1] not in "呢吗" else "？"))


EVENTS = 0.55
"""Share of the other facts that are events."""
INVENTED = 0.1
"""Share of the relations that are drawn character by character."""
COMMON = common_characters()
SENSELESS = (
    "{主}的{词}是{值}。",
    "{主}的{词}，是{值}。",
    "{值}是{主}的{词}。",
    "说到{词}，{主}会想起{值}。",
    "{主}总在{词}{值}。",
    "{主}{词}了{值}。",
    "关于{词}，{主}选的是{值}。",
    "{主}最有名的是{词}，也就是{值}。",
    "提起{主}的{词}，大家都说是{值}。",
)
SENSELESS_ASKED = (
    "{主}的{词}是什么",
    "什么是{主}的{词}",
    "{主}{词}什么",
    "{主}{词}了什么",
    "说到{词}，{主}会想起什么",
    "你知道{主}的{词}吗",
    "关于{主}的{词}，写了什么",
)
ASIDES = tuple(
    """
据说知道这件事的人并不多。
那年的冬天格外冷。
很多读者都喜欢这一段。
这件事后来被写进了故事里。
街上的人都这么说。
当时谁也没有放在心上。
窗外的风铃响个不停。
这是第一卷里的内容。
大家对此议论纷纷。
老人们提起来总是笑。
海风一直吹到傍晚。
具体的原因没有人知道。
这一集播出后很受欢迎。
路口的灯亮了一整夜。
""".split()
)
