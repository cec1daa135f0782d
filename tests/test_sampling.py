"""Penalties against a plain reference, log-probabilities against the model's own, look-up against plain decoding."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from anime_ai.config import Settings
from anime_ai.errors import SettingsError
from anime_ai.models import generation
from anime_ai.models.bases import STARTER, Base, find_base
from anime_ai.models.engine import BREAKERS, GREEDY, Piece, Sampling
from anime_ai.models.lookup import MOST, PAUSE, LookUp
from anime_ai.models.sampling import Dry, Sampler
from anime_ai.models.text_stream import StopTexts
from anime_ai.models.transformers_engine import TransformersEngine
from anime_ai.prompting import Dialogue, Prompt

SHORT = replace(GREEDY, max_new_tokens=40)


@pytest.fixture(scope="module")
def engine(base: Base) -> TransformersEngine:
    return TransformersEngine(base)


@pytest.fixture(scope="module")
def speaking() -> TransformersEngine:
    return TransformersEngine(find_base(STARTER, Settings.load()))


def ask(engine: TransformersEngine, question: str, brought: str = "") -> Prompt:
    return engine.layout("auto", "silent").prompt(Dialogue(card="你是她。", question=question, brought=brought))


def plain_dry(context: list[int], breaks: Any, allowed: int, multiplier: float, power: float) -> dict[int, float]:
    """The definition, read out loud: for every place in the context, how long a run before it is at the end, too."""
    prices: dict[int, float] = {}
    for place in range(1, len(context)):
        follower = context[place]
        if breaks(follower):
            continue
        run = 0
        while run < place and context[place - 1 - run] == context[-1 - run] and not breaks(context[-1 - run]):
            run += 1
        if run >= allowed:
            prices[follower] = max(prices.get(follower, 0.0), multiplier * power ** (run - allowed))
    return prices


@pytest.mark.parametrize("seed", range(20))
def test_dry_is_its_definition(tiny_tokenizer: Any, seed: int) -> None:
    drawn = random.Random(seed)
    words = tiny_tokenizer.encode("abcd,\n", add_special_tokens=False)
    often = [9, 9, 9, 1, 1, 1]
    prompt = Prompt(tuple(drawn.choices(words, often, k=drawn.randrange(0, 60))), 0, (), frozenset({words[3]}))
    sampling = Sampling(
        dry_multiplier=0.8,
        dry_base=drawn.choice([1.0, 1.75, 3.0]),
        dry_allowed_length=drawn.choice([1, 2, 4]),
        dry_breakers=(",",),
        max_new_tokens=60,
    )
    dry, context = Dry(sampling, tiny_tokenizer, prompt), list(prompt.ids)
    priced = 0
    for _ in range(60):
        tokens, prices = dry.prices()
        wanted = plain_dry(
            context, lambda one: one in (words[3], words[4]), sampling.dry_allowed_length, 0.8, sampling.dry_base
        )
        assert dict(zip(tokens.tolist(), prices.tolist(), strict=True)) == pytest.approx(wanted)
        priced += len(wanted)
        context.extend(drawn.choices(words, often))
        dry.add(context[-1])
    assert priced, "something must repeat for this to prove anything"


def test_chinese_punctuation_breaks_a_run_and_so_does_a_control_token(speaking: TransformersEngine) -> None:
    dry = Dry(Sampling(dry_multiplier=1.0), speaking.tokenizer(), ask(speaking, "你好"))
    encode = speaking.tokenizer().encode
    for mark in ("，", "。", "！", "？", "：", "“", "「", "…", "\n"):
        assert mark in BREAKERS
        assert dry.breaks(encode(mark, add_special_tokens=False)[-1]), mark
    assert not any(dry.breaks(token) for token in encode("今天天气", add_special_tokens=False))
    assert all(dry.breaks(token) for token in speaking.tokenizer().added_tokens_decoder)


def test_dry_lets_no_long_run_stand_twice(tiny_tokenizer: Any) -> None:
    """A model that goes in a circle of five, drawn from with DRY and without."""
    import torch

    def said(sampling: Sampling) -> list[int]:
        draw = Sampler(sampling, torch.device("cpu"), tiny_tokenizer, Prompt((20,), 0, (), frozenset()))
        for _ in range(80):
            logits = torch.linspace(1, 0, 64)[None]
            logits[0, 20 + (sum(draw.answer[-1:]) + 1) % 5] = 6.0
            draw(logits)
        return draw.answer

    def longest(told: list[int]) -> int:
        """Of all runs that stand there twice."""
        runs = {(one, other): 0 for one in range(81) for other in range(81)}
        for other in range(79, -1, -1):
            for one in range(other):
                runs[one, other] = runs[one + 1, other + 1] + 1 if told[one] == told[other] else 0
        return max(runs.values())

    assert longest(said(GREEDY)) > 70
    strict = replace(GREEDY, dry_multiplier=9.0, dry_allowed_length=3, dry_breakers=())
    assert longest(said(strict)) == 3


def test_the_price_of_a_long_run_stays_a_number(tiny_tokenizer: Any) -> None:
    word = tiny_tokenizer.encode("a", add_special_tokens=False)[0]
    dry = Dry(
        Sampling(dry_multiplier=100.0, dry_base=4.0, dry_breakers=()),
        tiny_tokenizer,
        Prompt((word,) * 3000, 0, (), frozenset()),
    )
    assert dry.prices()[1].tolist() == [1e30]


def test_log_probabilities_are_the_models_own(engine: TransformersEngine) -> None:
    import torch

    prompt = ask(engine, "你好")
    for sampling in (SHORT, replace(SHORT, repetition_penalty=3.0, temperature=1.5, seed=1)):
        pieces = list(engine.stream(prompt, sampling=replace(sampling, logprobs=5)))
        plain = list(engine.stream(prompt, sampling=sampling))
        assert [piece.ids for piece in pieces] == [piece.ids for piece in plain], "to be asked changes nothing"
        ids = [token for piece in pieces for token in piece.ids]
        told = [one for piece in pieces for one in piece.likelihoods]
        assert [one.id for one in told] == ids
        with torch.inference_mode():
            logits = engine._model(torch.tensor([[*prompt.ids, *ids]])).logits[0, len(prompt.ids) - 1 : -1]
        wanted = logits.float().log_softmax(-1)
        for row, one in zip(wanted, told, strict=True):
            values, tokens = row.topk(5)
            assert one.logprob == pytest.approx(float(row[one.id]), abs=1e-4)
            assert [other.logprob for other in one.best] == pytest.approx(values.tolist(), abs=1e-4)
            assert [other.id for other in one.best] == tokens.tolist()
            if sampling is SHORT:
                assert one.id == one.best[0].id


def test_all_log_probabilities_of_a_place_add_up(tiny_tokenizer: Any) -> None:
    import torch

    logits = torch.randn(1, 64, generator=torch.Generator().manual_seed(3)) * 5
    draw = Sampler(replace(GREEDY, logprobs=64), torch.device("cpu"), tiny_tokenizer, Prompt((1,), 0, (), frozenset()))
    token, told = draw(logits)
    assert token == int(logits.argmax())
    assert sum(2.718281828459045**one.logprob for one in told[0].best) == pytest.approx(1, abs=1e-5)


QUESTIONS = (
    *("你喜欢什么动漫？", "可以帮我写作业吗？", "早上好", "我今天有点难过", "你是谁？", "你叫什么名字？"),
    *("周末去哪里玩？", "今天吃什么好呢", "给我讲个故事吧", "你会生气吗？", "晚安", "下雨了", "我回来了"),
    *("你喜欢猫还是狗？", "考试没考好怎么办", "陪我聊聊天", "你几岁了？", "今天天气真好", "我想学画画", "谢谢你"),
    *("你在干嘛呢？", "我睡不着", "讲讲你的家乡", "你最怕什么？", "生日快乐", "你会唱歌吗？", "夏天快到了"),
    *("月见港的灯塔有多高？", "守塔人叫什么？", "月见港的灯塔是什么时候建的？"),
)
PASSAGE = "【资料1】月见港的灯塔建于一九二一年，高三十米，守塔人叫远山，每天傍晚点灯。"


def test_looking_up_says_what_one_token_at_a_time_says(
    speaking: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = speaking._ready(), speaking.tokenizer()
    held: list[tuple[int, int]] = []
    notice = LookUp.held
    monkeypatch.setattr(LookUp, "held", lambda self, *pair: (held.append(pair), notice(self, *pair))[1])
    for place, question in enumerate(QUESTIONS):
        prompt = replace(ask(speaking, question, PASSAGE if place % 3 == 0 or place > 26 else ""), stop_ids=frozenset())
        drawn = replace(SHORT, temperature=0.8, seed=place, dry_multiplier=0.8 * (place % 2))
        sampling = drawn if place % 5 == 0 else SHORT
        plain = list(generation.generate(model, tokenizer, prompt, sampling))
        kept = generation.new_cache(model)
        guessed = list(generation.generate(model, tokenizer, prompt, sampling, kept=kept, guessing=True))
        assert guessed == plain, question
        whole = [*prompt.ids, *(token for piece in plain for token in piece.ids)]
        assert all(one == other for one, other in zip(kept.ids, whole, strict=False))
        assert kept.cache.get_seq_length() == len(kept.ids) >= len(whole) - 1
    assert sum(right for right, _ in held) > 20, "guesses must hold for this to prove anything"
    assert any(right < guessed for right, guessed in held)


def test_a_guess_is_what_stood_there_last_and_its_length_follows_its_luck() -> None:
    ahead = LookUp([1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 9, 9, 9, 1, 2])
    assert ahead.guess() == ()
    ahead.add(3)
    assert ahead.guess() == (9, 9)
    ahead.held(2, 2)
    assert ahead.guess() == (9, 9, 9, 1)
    for _ in range(9):
        ahead.held(1, 1)
    assert len(ahead.guess()) <= MOST
    ahead.held(0, 4)
    assert ahead.guess() == ()
    for _ in range(PAUSE):
        ahead.add(7)
    assert ahead.guess() == (7,) * len(ahead.guess()) != ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_p", 1.01),
        ("top_k", 2.5),
        ("min_p", True),
        ("repetition_penalty", 0.0),
        ("dry_base", 0.5),
        ("dry_allowed_length", 0),
        ("dry_multiplier", float("inf")),
        ("max_new_tokens", 0),
        ("seed", -1),
        ("logprobs", 65),
    ],
)
def test_absurd_numbers_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=name):
        Sampling(**{name: value})


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_stop_text_ends_the_text_however_it_is_cut(size: int) -> None:
    said = "她说：<结 束吧<结束>还有"
    words = StopTexts(("<结束>", "【资料"))
    shown = "".join(words.feed(said[start : start + size]) for start in range(0, len(said), size)) + words.close()
    assert shown == "她说：<结 束吧"
    assert words.stopped
    open_end = StopTexts(("<结束>",))
    assert open_end.feed("好<结") == "好"
    assert open_end.close() == "<结"
    assert not open_end.stopped


def test_pieces_count_their_tokens() -> None:
    assert Piece("哼", (1, 2)).tokens == 2
    assert Piece("哼", untold=3).tokens == 3
