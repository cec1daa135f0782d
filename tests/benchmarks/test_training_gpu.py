"""Training the 1.5B on a GPU, against plain transformers: tokens a second and peak memory.

ANIME_AI_TEST_DATA=… pytest -m "benchmark and gpu" -s tests/benchmarks/test_training_gpu.py

The reference of the same run is plain transformers and PEFT: rows padded to the length, scaled dot product attention,
bf16 with fp32 adapters, the loss over all logits. Rows of half the length on average, as dialogues are. Then 4 bits at
2 × 512 and 16 bits at 2 × 1,024, for small cards.
"""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import standin

from anime_ai.models.bases import Base
from anime_ai.prompting import MASKED
from anime_ai.training.packing import Encoded, Packer, flat, tensors
from anime_ai.training.recipe import Recipe

pytestmark = [pytest.mark.benchmark, pytest.mark.gpu, pytest.mark.timeout(1800)]
STEPS = 6


def rows(count: int, longest: int, card: int) -> list[Encoded]:
    """Random rows behind one card of `card` tokens; a third of what is behind it is learned."""
    chance = random.Random(0)
    shared = [chance.randrange(1000, 100_000) for _ in range(card)]
    made = []
    for _ in range(count):
        own = [chance.randrange(1000, 100_000) for _ in range(chance.randint((longest - card) // 4, longest - card))]
        ids = (*shared, *own)
        read = len(ids) - max(2, len(own) // 3)
        made.append(Encoded(ids, (MASKED,) * read + ids[read:]))
    return made


def model_of(base: Base, **values: Any) -> Any:
    from anime_ai.config import Settings
    from anime_ai.models.device import pick_device
    from anime_ai.training.model import trainable_model
    from anime_ai.training.objective import give_objective

    def silent(key: str, **told: Any) -> None:
        pass

    recipe = Recipe.from_values({"base": str(base.path), **values})
    model, _ = trainable_model(base, recipe, pick_device(), [], recipe.max_length, silent, Settings())
    give_objective(model.get_base_model())
    return model.train()


def plain_of(base: Base) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.bfloat16).to("cuda")
    return get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")).train()


def measured(step: Callable[[list[Encoded]], None], batches: list[list[Encoded]]) -> tuple[float, float]:
    """Real tokens a second, and the peak in GiB."""
    import torch

    step(batches[0])
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    for batch in batches:
        step(batch)
    torch.cuda.synchronize()
    tokens = sum(len(row.ids) for batch in batches for row in batch)
    return tokens / (time.perf_counter() - began), torch.cuda.max_memory_allocated() / 2**30


def ours(model: Any) -> Callable[[list[Encoded]], None]:
    from anime_ai.training.loop import token_loss
    from anime_ai.training.optimisers import optimiser

    stepping = optimiser(model, 1e-4, 1.0, False)

    def step(batch: list[Encoded]) -> None:
        for items in Packer(8192)([(row,) for row in batch]):
            pack = {name: value.cuda() for name, value in tensors(flat(items)).items()}
            token_loss(model, pack, flat(items)).backward()
        stepping.step()
        stepping.zero_grad()

    return step


def padded(model: Any, longest: int) -> Callable[[list[Encoded]], None]:
    import torch

    stepping = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-4)

    def step(batch: list[Encoded]) -> None:
        ids = torch.tensor([[*row.ids, *[0] * (longest - len(row.ids))] for row in batch]).cuda()
        labels = torch.tensor([[*row.labels, *[MASKED] * (longest - len(row.labels))] for row in batch]).cuda()
        mask = torch.tensor([[1] * len(row.ids) + [0] * (longest - len(row.ids)) for row in batch]).cuda()
        with torch.autocast("cuda", torch.bfloat16):
            model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        stepping.step()
        stepping.zero_grad()

    return step


def test_tokens_a_second_and_peak(test_data: Path, tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    base = Base("standin", standin.make(Path(os.environ.get("STANDIN", tmp_path / "standin")), test_data / "tokenizer"))
    for name, each, longest, card in (("4 × 1,024", 4, 1024, 0), ("persona, 8 × 512 behind 350", 8, 512, 350)):
        batches = [rows(each, longest, card) for _ in range(STEPS)]
        told = {}
        for way in ("plain", "ours"):
            step = padded(plain_of(base), longest) if way == "plain" else ours(model_of(base))
            told[way] = measured(step, batches)
            del step
            gc.collect()
            torch.cuda.empty_cache()
        ratio = told["ours"][0] / told["plain"][0], told["ours"][1] / told["plain"][1]
        for way, (pace, peak) in told.items():
            print(f"{name:28} {way:6} {pace:9,.0f} tokens/s {peak:6.2f} GiB")
        print(f"{name:28} {ratio[0]:.2f} times the pace, {ratio[1]:.2f} of the peak")
    small: list[tuple[str, dict[str, Any], int]] = [
        ("QLoRA 2 × 512 (bar 3.5)", {"load_in_4bit": "on", "max_length": 512}, 512),
        ("LoRA 2 × 1,024 (bar 5.5)", {"load_in_4bit": "off", "max_length": 1024}, 1024),
    ]
    for name, values, longest in small:
        pace, peak = measured(ours(model_of(base, **values)), [rows(2, longest, 0) for _ in range(STEPS)])
        print(f"{name:28} {pace:9,.0f} tokens/s {peak:6.2f} GiB")
        gc.collect()
        torch.cuda.empty_cache()
