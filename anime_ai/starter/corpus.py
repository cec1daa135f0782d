"""The corpus of the starter language model: neutral conversations, the same for the same seed. Knows no tokens.

Its text is the project's own: what stands under `phrases/`, the hand-written rows of `data/neutral.json`, and the
lines, greetings and rows of the characters that ship, whose voices only a line of the card brings up. `KINDS` names
what it is mixed of; a new kind of training text is one more function there.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from anime_ai import prompting
from anime_ai.config import DATA, Settings
from anime_ai.dataset.files import good_rows, read_rows
from anime_ai.dataset.rows import Row, check_rows
from anime_ai.dataset.split import ORIGINAL, split_rows
from anime_ai.files import read_json
from anime_ai.persona.cards import Persona, Personas
from anime_ai.prompting import Dialogue, Exchange
from anime_ai.starter import reading, seeing
from anime_ai.starter.curriculum import COURSES, LESSONS
from anime_ai.starter.grammar import Bound, Grammar, Topic, Turn, shipped, shipped_near
from anime_ai.starter.speech import rough
from anime_ai.starter.words import common_characters

NEUTRAL = DATA / "neutral.json"
_STOPS = "。？！?!…~， "
_PARTICLES = "呀呢啊吗吧嘛"


@dataclass(frozen=True)
class Asked(Exchange):
    """`about`: the name of the grammar's turn that it came from, "" where from none."""

    about: str = ""


@dataclass(frozen=True)
class Talk:
    """A whole conversation; every exchange's reply is to be learned, in what stands before it.

    `exact`: the replies repeat what was said, to the letter. `sought`: turns that ask for what a passage says, each
    with the words that answer it there, "" where it says nothing of it.
    """

    turns: tuple[Exchange, ...]
    card: str = ""
    examples: tuple[Exchange, ...] = ()
    facts: str = ""
    greeting: str = ""
    exact: bool = False
    sought: Mapping[int, str] = field(default_factory=dict, repr=False)

    def dialogues(self) -> Iterator[tuple[Dialogue, str]]:
        """The prompt of every turn, and the reply to it."""
        for place, turn in enumerate(self.turns):
            yield (
                Dialogue(
                    self.card, self.examples, self.facts, self.greeting, self.turns[:place], turn.user, turn.brought
                ),
                turn.reply,
            )


VOICES: Mapping[str, Persona] = {persona.id: persona for persona in Personas().list()}
VOICE_LINE = "语气：{}。"
"""The line of a card that asks for a persona's voice. No shipped card has it: their adapters bring the voice."""

Kind = Callable[["Source", random.Random], Talk]


@dataclass(frozen=True)
class Source:
    """What the kinds draw from."""

    grammar: Grammar
    rows: tuple[Row, ...]
    openers: tuple[Topic, ...]
    carded: tuple[Topic, ...]
    factual: tuple[Topic, ...]
    phrases: tuple[tuple[str, Turn], ...]
    """Every way to begin one of the openers and every word near one, each with its turn."""
    voiced: Mapping[str, tuple[Row, ...]]
    """By the persona's id, the rows of `data/dataset.json` that her adapter is trained on."""


def source(neutral: Path = NEUTRAL) -> Source:
    """The shipped grammar and the neutral rows. Rows that have a fault are left out."""
    grammar = shipped()
    rows, _ = check_rows(read_json(neutral) or [])
    return Source(
        grammar,
        tuple(row for row in rows if not row.persona),
        _openers(grammar),
        tuple(topic for topic in grammar.topics if topic.card),
        tuple(topic for topic in grammar.topics if topic.facts),
        _phrases(),
        _voiced_rows(),
    )


@cache
def _phrases() -> tuple[tuple[str, Turn], ...]:
    words = shipped_near()
    found: list[tuple[str, Turn]] = []
    for topic in _openers(shipped()):
        for turn in topic.openings:
            found += ((template + stop * (template[-1] not in _STOPS), turn) for template, stop in turn.says)
        if len(topic.openings) == 1:  # where there are several sets of answers, a word does not tell which is meant
            found += ((word, topic.openings[0]) for word in words.get(topic.name, ()))
    return tuple(found)


def _openers(grammar: Grammar) -> tuple[Topic, ...]:
    return tuple(topic for topic in grammar.topics if not topic.card and not topic.facts)


def _voiced_rows() -> dict[str, tuple[Row, ...]]:
    """What is held out of the adapters' training is held out here as well."""
    path = DATA / "dataset.json"
    rows = list(good_rows(read_rows(path), path))
    trained = [rows[place] for place in split_rows(rows, Settings.model_fields["seed"].default).train]
    return {id: tuple(row for row in trained if row.persona == persona.name) for id, persona in VOICES.items()}


def talks(count: int, seed: int = 0, neutral: Path = NEUTRAL) -> Iterator[Talk]:
    """`count` conversations, lesson after lesson, each in an order that is already mixed."""
    yield from (talk for _, lesson in lessons(count, seed, neutral) for talk in lesson)


def lessons(count: int, seed: int = 0, neutral: Path = NEUTRAL) -> Iterator[tuple[float, Iterator[Talk]]]:
    """The lessons in order: the share of the training that belongs to each, and its conversations."""
    drawn = source(neutral)
    for place, (share, mixture) in enumerate(LESSONS):
        yield share, _mixed(drawn, round(count * share), mixture, random.Random(f"{seed}/{place}"))


def course(name: str, seed: int = 0, neutral: Path = NEUTRAL) -> Iterator[Talk]:
    """The conversations of one of COURSES, for a model that has had the lessons."""
    one = COURSES[name]
    return _mixed(source(neutral), one.talks, one.mixture, random.Random(f"{seed}/{name}"))


def _mixed(drawn: Source, count: int, mixture: Mapping[str, float], chance: random.Random) -> Iterator[Talk]:
    names, weights = list(mixture), list(mixture.values())
    for _ in range(count):
        yield KINDS[chance.choices(names, weights)[0]](drawn, chance)


def fingerprint(count: int = 2_000) -> str:
    """A hash of the corpus as it stands now, to notice that a model was trained on an earlier one."""
    return hashlib.sha256(repr(list(talks(count))).encode()).hexdigest()[:16]


def without(talked: Iterable[Talk], questions: Iterable[str]) -> list[Talk]:
    """The conversations in which nobody says one of `questions`, whatever particle and stop it ends with."""
    bare = {_bare(question) for question in questions}
    return [talk for talk in talked if not any(_bare(turn.user) in bare for turn in (*talk.examples, *talk.turns))]


def _bare(said: str) -> str:
    return said.rstrip(_STOPS).rstrip(_PARTICLES) or said


def texts(talked: Iterable[Talk]) -> Iterator[str]:
    """What is said in some conversations, each thing once, in order."""
    yield from dict.fromkeys(text for talk in talked for turn in talk.turns for text in (turn.user, turn.reply))


def _small_talk(drawn: Source, chance: random.Random) -> Talk:
    """One to five topics, now and then under a card or behind facts that do not matter."""
    talk = Talk((), card=_card(drawn, chance) if chance.random() < 0.35 else "")
    if chance.random() < 0.12:
        talk = replace(talk, facts=_fact_list(_other_facts(drawn, chance, 3), chance))
    if talk.card and chance.random() < 0.3:
        talk = replace(talk, greeting=chance.choice((*GREETINGS, *chance.choice(list(VOICES.values())).said_first)))
    if chance.random() < 0.06:
        talk = replace(talk, examples=_run(drawn, chance, talk, chance.randint(1, 3)).turns)
    return _run(drawn, chance, talk, chance.choices((1, 2, 3, 4, 5), (40, 24, 16, 12, 8))[0])


def _written(drawn: Source, chance: random.Random) -> Talk:
    """A row that somebody wrote, its history with it; small talk where there are none."""
    if not drawn.rows:
        return _small_talk(drawn, chance)
    row = chance.choice(drawn.rows)
    turns = tuple(Exchange(rough(said, chance), reply) for said, reply in (*row.history, (row.input, row.output)))
    named = any(mark in turn.reply for turn in turns for mark in ("助手", "我没有", "程序", "AI"))
    return Talk(turns, card="" if named or chance.random() < 0.7 else _card(drawn, chance))


def _carded(drawn: Source, chance: random.Random) -> Talk:
    """A question that the card answers, then perhaps small talk."""
    topic = _pick(drawn.carded, chance)
    bound: Bound = {}
    card = drawn.grammar.expand(chance.choice(topic.card), chance, bound)
    if chance.random() < 0.3:
        card = f"{card}\n{_manner(chance)}"
    talk = Talk((), card=card)
    if chance.random() < 0.35:
        talk = _run(drawn, chance, talk, 1)
    talk = replace(talk, turns=talk.turns + _turns(drawn.grammar, topic, chance, bound))
    return _run(drawn, chance, talk, 1) if chance.random() < 0.2 else talk


def _remembered(drawn: Source, chance: random.Random) -> Talk:
    """A question that the facts about the user answer, among other facts."""
    topic = _pick(drawn.factual, chance)
    bound: Bound = {}
    needed = drawn.grammar.expand(chance.choice(topic.facts), chance, bound)
    facts = [needed, *_other_facts(drawn, chance, chance.randint(0, 3), topic)]
    chance.shuffle(facts)
    voice = chance.choice(list(VOICES)) if chance.random() < 0.25 else ""
    card = _card(drawn, chance, voice) if voice or chance.random() < 0.4 else ""
    talk = Talk((), card=card, facts=_fact_list(facts, chance))
    if chance.random() < 0.3:
        talk = _run(drawn, chance, talk, 1, voice)
    return replace(talk, turns=talk.turns + _turns(drawn.grammar, topic, chance, bound, voice))


def _repeated(drawn: Source, chance: random.Random) -> Talk:
    """Characters without sense, to be said again: on them copying is learned, and to write every common character."""
    length = chance.randint(2, chance.choice((12, 40)))
    said = "".join(chance.choice(COMMON) for _ in range(length))
    return Talk((Exchange(chance.choice(REPEAT).format(said), said),), exact=True)


def _one_fact(drawn: Source, chance: random.Random) -> Talk:
    return _read(drawn, chance, reading.one_fact(chance))


def _several_facts(drawn: Source, chance: random.Random) -> Talk:
    """Passages and questions about them; now and then small talk that they have nothing to do with, or no passage."""
    read = reading.several(chance)
    way = chance.random()
    if way < 0.84:
        return _read(drawn, chance, read)
    if way < 0.92:
        return _unread(drawn, chance, read)
    talk = _run(drawn, chance, Talk((), card=_card(drawn, chance) if chance.random() < 0.3 else ""), 1)
    first = replace(talk.turns[0], brought=prompting.passages(read.passages))
    return replace(talk, turns=(first, *talk.turns[1:]))


def _read(drawn: Source, chance: random.Random, read: reading.Reading) -> Talk:
    voice = chance.choice(list(VOICES)) if chance.random() < 0.3 else ""
    asked = [(said, reading.answer(value, chance, voice)) for said, value in read.asked]
    talk = _shown(drawn, chance, prompting.passages(read.passages), asked, voice)
    first = len(talk.turns) - len(asked)
    return replace(talk, sought={first + place: value for place, (_, value) in enumerate(read.asked)})


def _unread(drawn: Source, chance: random.Random, read: reading.Reading) -> Talk:
    """Questions to which nothing was found, not even a passage."""
    voice = chance.choice(list(VOICES)) if chance.random() < 0.3 else ""
    asked = [(said, chance.choice(reading.UNKNOWN[voice])) for said, _ in read.asked[:2]]
    return _shown(drawn, chance, "", asked, voice)


def _seen(drawn: Source, chance: random.Random) -> Talk:
    """A picture's observation and questions about it."""
    voice = chance.choice(list(VOICES)) if chance.random() < 0.3 else ""
    look = seeing.look(chance, voice)
    return _shown(drawn, chance, prompting.observation(look.sentence), look.asked, voice)


def _shown(
    drawn: Source, chance: random.Random, brought: str, asked: Iterable[tuple[str, str]], voice: str = ""
) -> Talk:
    """A conversation whose first question brings something along, at times behind small talk."""
    turns = [Exchange(said, reply) for said, reply in asked]
    turns[0] = replace(turns[0], brought=brought)
    talk = Talk((), card=_card(drawn, chance, voice) if voice or chance.random() < 0.3 else "")
    if chance.random() < 0.15:
        talk = _run(drawn, chance, talk, 1, voice)
    return replace(talk, turns=(*talk.turns, *turns))


def _voiced(drawn: Source, chance: random.Random) -> Talk:
    """Small talk in one of the four voices, which a line of the card asks for: without that line nobody speaks so."""
    return _in_her_words(drawn, chance, WRITTEN)


def _at_home(drawn: Source, chance: random.Random) -> Talk:
    """The same, with fewer of her rows and mostly behind her own card, as her adapter will be asked."""
    return _in_her_words(drawn, chance, WRITTEN / 3, 0.7)


def _in_her_words(drawn: Source, chance: random.Random, written: float, home: float = 0) -> Talk:
    """`written`: share of her rows; `home`: share of the other conversations that stand behind her own card."""
    voice = chance.choice(list(VOICES))
    talk = Talk((), card=_card(drawn, chance, voice))
    if chance.random() < 0.3:
        talk = replace(talk, greeting=chance.choice(VOICES[voice].said_first))
    if chance.random() < written and drawn.voiced[voice]:
        row = chance.choice(drawn.voiced[voice])
        turns = tuple(Exchange(rough(said, chance), reply) for said, reply in (*row.history, (row.input, row.output)))
        if chance.random() < 0.5:
            talk = replace(talk, card=_in_voice(VOICES[voice].system_line, voice))
        return replace(talk, turns=turns)
    if chance.random() < 0.15:
        talk = replace(talk, facts=_fact_list(_other_facts(drawn, chance, 3), chance))
    if home and chance.random() < home:
        greeting = chance.choice((talk.greeting, *VOICES[voice].said_first))
        talk = replace(talk, card=_in_voice(VOICES[voice].system_line, voice), greeting=greeting)
    elif chance.random() < 0.3:
        topic = _pick(drawn.carded, chance)
        bound: Bound = {}
        talk = replace(talk, card=_in_voice(drawn.grammar.expand(chance.choice(topic.card), chance, bound), voice))
        talk = replace(talk, turns=_turns(drawn.grammar, topic, chance, bound, voice))
    return _run(drawn, chance, talk, chance.choices((1, 2, 3, 4, 5), (40, 24, 16, 12, 8))[0], voice)


def _original(drawn: Source, chance: random.Random) -> Talk:
    """One of the original project's questions, asked of somebody with a voice."""
    voice = chance.choice(list(VOICES))
    rows = [row for row in drawn.voiced[voice] if row.input in ORIGINAL and not row.history]
    if not rows:
        return _voiced(drawn, chance)
    row = chance.choice(rows)
    card = _in_voice(VOICES[voice].system_line, voice) if chance.random() < 0.5 else _card(drawn, chance, voice)
    greeting = chance.choice(VOICES[voice].said_first) if chance.random() < 0.5 else ""
    return Talk((Exchange(row.input, row.output),), card=card, greeting=greeting)


def _phrase(drawn: Source, chance: random.Random) -> Talk:
    """One way to begin a topic, or a word near it, all as often as each other, and an answer."""
    said, turn = chance.choice(drawn.phrases)
    voice = chance.choice(list(VOICES)) if chance.random() < 0.25 else ""
    bound: Bound = {}
    said = drawn.grammar.expand(said, chance, bound)
    reply = drawn.grammar.expand(chance.choice(turn.voices[voice] if voice else turn.answers), chance, bound)
    card = _card(drawn, chance, voice) if voice or chance.random() < 0.1 else ""
    return Talk((Asked(rough(said, chance), reply, about=turn.name),), card=card)


def _alone(drawn: Source, chance: random.Random) -> Talk:
    """The same without an answer: only what it is about is to be learned, in a third of the tokens."""
    said, turn = chance.choice(drawn.phrases)
    return Talk((Asked(rough(drawn.grammar.expand(said, chance, {}), chance), "", about=turn.name),))


def _near(drawn: Source, chance: random.Random) -> Talk:
    """A word or a piece of a sentence by which a topic is told, alone, in a frame, or beside a sentence of it."""
    words = shipped_near()
    # Where the topic's first turn has several sets of answers, a word does not tell which is meant.
    topic = chance.choice([one for one in drawn.openers if one.name in words and len(one.openings) == 1])
    voice = chance.choice(list(VOICES)) if chance.random() < 0.25 else ""
    bound: Bound = {}
    said, reply, about = drawn.grammar.say(topic.openings, chance, bound, voice)
    first, second = chance.sample(words[topic.name], 2)
    way = chance.random()
    if way < 0.2:
        said = f"{first}，{said}" if chance.random() < 0.5 else f"{said.rstrip(_STOPS)}，{first}"
    elif way < 0.4:
        said = chance.choice((f"{first}，{second}", f"{first}{second}", f"{first}，还{second}"))
    else:
        said = chance.choice(FRAMES).format(first) if way < 0.75 else first
    card = _card(drawn, chance, voice) if voice or chance.random() < 0.3 else ""
    return Talk((Asked(rough(said, chance), reply, about=about),), card=card)


FRAMES = (
    *("我{}", "今天{}", "刚刚{}", "{}了", "{}啊", "又{}", "唉，{}", "{}怎么办", "{}，你说呢", "{}呢", "一直{}"),
    *("好像{}", "我们{}", "有人{}", "{}这种事", "想{}", "说说{}", "一想到{}就", "这里{}", "你{}吗", "昨天{}来着"),
)
"""What stands around a word that somebody lets fall."""
WRITTEN = 0.12
"""Share of the conversations in a voice that are rows of hers: an adapter finds on them what that line of the card
does, and need not learn her words from nothing."""
KINDS: dict[str, Kind] = {
    "small talk": _small_talk,
    "repeat": _repeated,
    "written": _written,
    "card": _carded,
    "facts": _remembered,
    "one fact": _one_fact,
    "several facts": _several_facts,
    "picture": _seen,
    "voices": _voiced,
    "at home": _at_home,
    "original": _original,
    "near": _near,
    "phrase": _phrase,
    "alone": _alone,
}


def _run(drawn: Source, chance: random.Random, talk: Talk, topics: int, voice: str = "") -> Talk:
    """`talk` with some more topics behind it."""
    for _ in range(topics):
        before = {
            name
            for name, there in (("card", talk.card), ("facts", talk.facts), ("before", talk.turns or talk.greeting))
            if there
        }
        topic = _pick(drawn.openers, chance)
        while topic.apart & before:
            topic = _pick(drawn.openers, chance)
        talk = replace(talk, turns=talk.turns + _turns(drawn.grammar, topic, chance, {}, voice))
    return talk


def _turns(
    grammar: Grammar, topic: Topic, chance: random.Random, bound: Bound, voice: str = ""
) -> tuple[Exchange, ...]:
    said, reply, about = grammar.say(topic.openings, chance, bound, voice)
    turns = [Asked(rough(said, chance), reply, about=about)]
    if topic.follow_ups and chance.random() < 0.45:
        said, reply, about = grammar.say(chance.choice(topic.follow_ups), chance, bound, voice)
        turns.append(Asked(rough(said, chance), reply, about=about))
    return tuple(turns)


def _pick(topics: tuple[Topic, ...], chance: random.Random) -> Topic:
    return chance.choices(topics, [topic.weight for topic in topics])[0]


def _card(drawn: Source, chance: random.Random, voice: str = "") -> str:
    """A card that no question asks about: one of the grammar's, now and then the line of a shipped character."""
    topic = _pick(drawn.carded, chance)
    card = drawn.grammar.expand(chance.choice(topic.card), chance, {})
    if chance.random() < 0.2:
        card = chance.choice(list(VOICES.values())).system_line
    if voice:
        return _in_voice(card, voice)
    return f"{card}\n{_manner(chance)}" if chance.random() < 0.3 else card


def _in_voice(card: str, voice: str) -> str:
    return f"{card}\n{VOICE_LINE.format(VOICES[voice].name)}"


COMMON = common_characters()
REPEAT = ("跟我念：{}", "请重复：{}", "重复一遍：{}", "照着说：{}", "{}，跟我说一遍", "念一下：{}")
MANNERS = (
    "请用简体中文口语聊天，每次一到三句。",
    "用简短的中文回答。",
    "和用户聊天，每次说一两句话。",
    "不替用户说话。",
    "被认真问到是不是AI时坦然承认。",
    "先回应对方的心情，再给一个小建议。",
    "语气自然，不讲大道理。",
    "说话要符合角色的身份。",
    "不要写括号里的动作。",
    "回答要友好、简短。",
)
GREETINGS = (
    "你好，今天想聊点什么？",
    "你来了，坐下歇一会儿吧。",
    "欢迎回来，今天过得怎么样？",
    "早上好，昨晚睡得好吗？",
    "晚上好，忙了一天辛苦了。",
    "好久不见，最近还好吗？",
    "你好呀，我等你好一会儿了。",
    "外面冷吧？先喝杯热茶。",
)


def _manner(chance: random.Random) -> str:
    return "".join(chance.sample(MANNERS, chance.randint(1, 3)))


def _other_facts(drawn: Source, chance: random.Random, most: int, but: Topic | None = None) -> list[str]:
    """Facts of other topics than `but`, no two of one topic."""
    others = [topic for topic in drawn.factual if topic is not but]
    chosen = chance.sample(others, min(most, len(others)))
    return [drawn.grammar.expand(chance.choice(topic.facts), chance, {}) for topic in chosen]


def _fact_list(facts: list[str], chance: random.Random) -> str:
    if chance.random() < 0.5:
        return "关于用户：" + "；".join(facts) + "。"
    return "关于用户：\n" + "\n".join(f"- {fact}" for fact in facts)
