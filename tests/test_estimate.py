"""What a training is said to need: counted from the base's own files, with what would fit where it does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from anime_ai.models.bases import Base
from anime_ai.models.device import Device
from anime_ai.training.estimate import Shape, adapter_parameters, estimate, pace_of
from anime_ai.training.recipe import MEMORY, Recipe
from anime_ai.training.runs import Run

GIB = 2**30


def card(gigabytes: float) -> Device:
    return Device("cuda", "a card", int(gigabytes * GIB), bf16=True, fp16=True)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """The published shape of the 1.5B: a file with its header and no weights behind it."""
    folder = tmp_path_factory.mktemp("large")
    hidden, inner, layers, vocabulary, key = 1536, 8960, 28, 151_936, 256
    config = {"num_hidden_layers": layers, "hidden_size": hidden, "vocab_size": vocabulary}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes = {"model.embed_tokens.weight": [vocabulary, hidden], "lm_head.weight": [vocabulary, hidden]}
    for layer in range(layers):
        at = f"model.layers.{layer}"
        for name, size in (
            *(("self_attn.q_proj", [hidden, hidden]), ("self_attn.k_proj", [key, hidden])),
            *(("self_attn.v_proj", [key, hidden]), ("self_attn.o_proj", [hidden, hidden])),
            *(("mlp.gate_proj", [inner, hidden]), ("mlp.up_proj", [inner, hidden]), ("mlp.down_proj", [hidden, inner])),
        ):
            shapes[f"{at}.{name}.weight"] = size
    end, header = 0, {}
    for name, (rows, columns) in shapes.items():
        header[name] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [end, end + 2 * rows * columns]}
        end += 2 * rows * columns
    head = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.truncate(8 + len(head) + end)
    return Base("large", folder)


def test_the_shape_is_read_from_the_files(large: Base) -> None:
    shape = Shape.of(large)
    assert (shape.layers, shape.hidden, shape.vocabulary) == (28, 1536, 151_936)
    assert shape.blocks == 28 * (2 * 1536**2 + 2 * 256 * 1536 + 3 * 1536 * 8960) == 1_310_195_712
    assert shape.parameters == shape.blocks + 2 * 151_936 * 1536
    # 28 layers: q and o are square, k and v narrow, three matrices of the MLP.
    of_a_layer = 2 * (1536 + 1536) + 2 * (256 + 1536) + 3 * (1536 + 8960)
    assert adapter_parameters(Recipe(lora_r=16), shape) == 16 * 28 * of_a_layer
    assert adapter_parameters(Recipe(lora_r=16, targets="attention"), shape) == 16 * 28 * (
        2 * (1536 + 1536) + 2 * (256 + 1536)
    )
    outputs = Recipe(lora_r=4, targets="outputs", layers=3)
    assert adapter_parameters(outputs, shape) == 4 * 3 * ((1536 + 1536) + (1536 + 8960))
    assert adapter_parameters(Recipe(layers=900), shape) == adapter_parameters(Recipe(), shape)


def test_four_bits_and_checkpointing_need_less(large: Base) -> None:
    lengths = [512] * 100
    plain = estimate(Recipe(load_in_4bit="off", checkpointing="off"), large, lengths, card(24))
    packed = estimate(Recipe(load_in_4bit="on", checkpointing="off"), large, lengths, card(24))
    thrifty = estimate(Recipe(load_in_4bit="on", checkpointing="on"), large, lengths, card(24))
    assert plain.memory > packed.memory > thrifty.memory
    assert plain.memory - packed.memory == pytest.approx(1.31e9 * (2 - 0.52), rel=0.01)
    assert thrifty.memory < 3.5 * GIB, "QLoRA of the 1.5B at 2 × 512"
    assert (thrifty.four_bit, thrifty.checkpointing) == (True, True)


def test_every_preset_of_a_card_fits_it(large: Base) -> None:
    for name, values in MEMORY.items():
        if name == "cpu":
            continue
        found = estimate(Recipe(**values), large, [512] * 100, card(float(name.removesuffix("gb"))))
        assert found.fits, (name, found)


@pytest.mark.parametrize(
    ("lengths", "values", "measured"),
    [
        ([531] * 4, {}, 5.78e9),
        ([777] * 4, {}, 6.35e9),
        ([959] * 4, {}, 6.77e9),
        ([1228] * 4, {}, 7.28e9),
        ([434] * 4, {"lora_r": 64, "lora_alpha": 128}, 6.39e9),
    ],
    ids=["short", "persona", "long", "one row", "rank 64"],
)
def test_a_processors_memory_is_near_what_was_measured(
    large: Base, lengths: list[int], values: dict[str, int], measured: float
) -> None:
    """Peaks of whole trainings of the stand-in, whose largest packs had so many tokens (test_training_memory.py)."""
    processor = Device("cpu", "CPU", 24 * GIB, bf16=True, fp16=False)
    recipe = Recipe(batch_size=1, accumulation=1, **values)
    assert estimate(recipe, large, lengths, processor).memory == pytest.approx(measured, rel=0.03)


def test_what_rows_share_is_counted_once_a_pack(large: Base) -> None:
    processor = Device("cpu", "CPU", 24 * GIB, bf16=True, fp16=False)

    def memory(common: int, packing: str = "on") -> float:
        recipe = Recipe(batch_size=4, accumulation=1, packing=packing)
        return estimate(recipe, large, [200] * 80, processor, common=common).memory

    alone = memory(0, "off")
    assert alone == memory(180, "off") < memory(180) < memory(90) < memory(0)
    assert memory(180) - alone == pytest.approx(0.1 * (memory(0) - alone))


def test_what_does_not_fit_is_said_with_what_would(large: Base) -> None:
    told = Recipe(load_in_4bit="off", checkpointing="off", max_length=2048)
    found = estimate(told, large, [1800] * 50, card(4))
    assert not found.fits
    assert found.advice["load_in_4bit"] == "on"
    again = estimate(
        replace(told, **found.advice), large, [min(1800, found.advice.get("max_length", 2048))] * 50, card(4)
    )
    assert again.fits
    assert estimate(told, large, [1800] * 50, card(1)).advice == {}


def test_time_is_told_by_the_pace_of_the_last_run(large: Base, tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=10)
    assert estimate(recipe, large, [50] * 1000, card(24)).seconds is None
    assert estimate(recipe, large, [50] * 1000, card(24), pace=100.0).seconds == pytest.approx(1000)
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": step, "tokens_per_s": pace}) + "\n" for step, pace in ((1, 5), (2, 70), (3, 80))),
        encoding="utf-8",
    )
    run = Run("x", tmp_path, "", "", "", "large", "finished", 3, 3, None, None, (), 0.0, 0.0)
    assert pace_of([run], "large") == 70
    assert pace_of([run], "another") == 0
