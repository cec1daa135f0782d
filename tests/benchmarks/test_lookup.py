"""What looking up in the prompt saves: the price of a pass over several tokens, and tokens a second on passages.

pytest -m benchmark -s tests/benchmarks/test_lookup.py

On two cores with AVX512-BF16, while others worked beside it, over one token: in bf16 5 tokens 1.08, 9 tokens 1.11; in
fp32 3.19 and 3.09. The starter on passages, in fp32: 13.1 tokens/s plain, 13.4 looked up, the same answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from anime_ai.config import Settings
from anime_ai.models.bases import STARTER, find_base
from anime_ai.models.engine import GREEDY
from anime_ai.models.generation import _rows, generate, new_cache
from anime_ai.models.transformers_engine import TransformersEngine
from anime_ai.prompting import Dialogue

LAYERS = 8
"""Of the 1.5B's 28: its pass is theirs and the head's."""
PASSAGES = (
    "【资料1】月见港的灯塔建于一九二一年，高三十米，守塔人叫远山，每天傍晚点灯。",
    "【资料1】风见街的面包店叫晨光，早上六点开门，红豆包每天只做四十个，卖完为止。",
)


def fastest(works: dict[str, Callable[[], Any]], times: int) -> dict[str, float]:
    """Seconds of each at its best, taken in turns."""
    took = {name: float("inf") for name in works}
    for _ in range(times):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            took[name] = min(took[name], time.perf_counter() - began)
    return took


@pytest.mark.benchmark
@pytest.mark.timeout(900)
def test_the_price_of_a_pass() -> None:
    """Random weights in the shapes of Qwen2 1.5B."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shape = {"hidden_size": 1536, "intermediate_size": 8960, "num_attention_heads": 12, "num_key_value_heads": 2}
    config = Qwen2Config(vocab_size=151_936, num_hidden_layers=LAYERS, tie_word_embeddings=False, **shape)
    for dtype in (torch.bfloat16, torch.float32):
        model = Qwen2ForCausalLM(config).to(dtype).eval()
        kept = new_cache(model)
        _rows(model, kept, tuple(range(200)), 1)

        def read(count: int, model: Any = model, kept: Any = kept) -> None:
            _rows(model, kept, tuple(range(count)))
            kept.shorten(count)

        took = fastest({str(count): lambda count=count: read(count) for count in (1, 2, 3, 5, 9)}, 8)
        print(f"\n{dtype}: " + ", ".join(f"{name} tokens {took[name] / took['1']:.2f}" for name in took))
        assert len(kept.ids) == 200


@pytest.mark.benchmark
@pytest.mark.timeout(900)
def test_tokens_a_second_on_passages() -> None:
    engine = TransformersEngine(find_base(STARTER, Settings.load()))
    model, tokenizer = engine._ready(), engine.tokenizer()
    sampling = replace(GREEDY, max_new_tokens=64)
    questions = ("灯塔有多高？", "守塔人叫什么？", "面包店几点开门？", "红豆包每天做多少个？")
    dialogues = [
        Dialogue("你是她。", question=one, brought=PASSAGES[place // 2]) for place, one in enumerate(questions)
    ]
    prompts = [engine.layout("auto", "silent").prompt(one) for one in dialogues]
    said: dict[bool, list[Any]] = {}

    def answer(guessing: bool) -> None:
        said[guessing] = [list(generate(model, tokenizer, one, sampling, guessing=guessing)) for one in prompts]

    took = fastest({"plain": lambda: answer(False), "looked up": lambda: answer(True)}, 4)
    assert said[True] == said[False]
    tokens = sum(piece.tokens for pieces in said[True] for piece in pieces)
    print("\n" + ", ".join(f"{name} {tokens / seconds:.1f} tokens/s" for name, seconds in took.items()))
