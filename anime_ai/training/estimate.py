"""What a training will need, before it starts: steps, memory, time. Knows no torch.

Memory is counted: weights as they are loaded, what is trained with its optimiser, what one pack keeps for its way back,
the logits of a slice. Time before the first step is what runs on the same base took; the page tells it better from the
run's own steps once there are some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from anime_ai.files import read_json
from anime_ai.models.bases import Base, read_header
from anime_ai.models.catalogue import Architecture
from anime_ai.models.device import Device
from anime_ai.training.memory import ROOM, activation_bytes, pack_tokens, wants_checkpointing, wants_four_bit
from anime_ai.training.recipe import Recipe, plan
from anime_ai.training.runs import Run, metrics

LIBRARIES = {"cuda": 0.35e9, "cpu": 1.15e9, "mps": 1.15e9}
"""Bytes that torch and its friends hold: on a GPU its context and kernels, elsewhere the process."""
LEAN, SCORES = 20.0, 8.5
"""Of a lean step (`lean`) in 16 bits on a processor: bytes that are kept for a token, layer and hidden unit, and for a
pair of tokens, layer and head, with what the heap does not give back. `test_training_speed.py` prints how far an
estimate is from the peak."""
SLICE = 512
"""Trained tokens whose logits are there at once (`objective.SLICE`)."""
_MODULES = {
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
    "outputs": ("o_proj", "down_proj"),
}


@dataclass(frozen=True)
class Shape:
    """What of a base's size matters here. `blocks`: parameters of the layers' matrices, which 4 bits shrink."""

    layers: int
    hidden: int
    vocabulary: int
    blocks: int
    parameters: int
    matrices: tuple[tuple[str, int, int], ...]

    @classmethod
    def of(cls, base: Base) -> Shape:
        config = read_json(base.path / "config.json") or {}
        shapes = {name: size for file in base.path.glob("*.safetensors") for name, size in read_header(file).items()}
        inner = {
            name: size
            for name, size in shapes.items()
            if len(size) == 2 and name.split(".")[-2] in (*_MODULES["attention"], *_MODULES["mlp"])
        }
        return cls(
            layers=int(config.get("num_hidden_layers", 1)),
            hidden=int(config.get("hidden_size", 1)),
            vocabulary=int(config.get("vocab_size", 1)),
            blocks=sum(rows * columns for rows, columns in inner.values()),
            parameters=base.parameters(),
            matrices=tuple((name.split(".")[-2], *size) for name, size in inner.items()),  # type: ignore[misc]
        )

    @classmethod
    def planned(cls, made: Architecture) -> Shape:
        """Of a model that is not here yet."""
        matrices = made.matrices * made.layers
        blocks = sum(rows * columns for _, rows, columns in matrices)
        return cls(made.layers, made.hidden, made.vocabulary, blocks, made.parameters, matrices)


@dataclass(frozen=True)
class Estimate:
    """`memory` and `room` in bytes on the device; `seconds` None where nothing tells the pace. `fits` False: `advice`
    are settings with which it would, empty where none do."""

    rows: int
    steps: int
    epochs: float
    tokens: int
    memory: float
    room: float
    four_bit: bool
    checkpointing: bool
    seconds: float | None
    advice: dict[str, Any]

    @property
    def fits(self) -> bool:
        return self.memory <= self.room


def estimate(recipe: Recipe, base: Base, lengths: Sequence[int], device: Device, pace: float = 0.0) -> Estimate:
    """For rows of these lengths in tokens. `pace`: tokens a second, 0 where it is not known."""
    shape = Shape.of(base)
    planned = plan(recipe, len(lengths), shape.parameters)
    longest, tokens = max(lengths), sum(lengths)
    memory, four_bit, checkpointing = _memory(recipe, shape, longest, tokens, len(lengths), device)
    room = device.memory * ROOM
    advice: dict[str, Any] = {}
    if memory > room:
        advice = _advice(recipe, shape, lengths, device)
    seconds = tokens * planned.epochs / pace if pace else None
    return Estimate(
        len(lengths), planned.steps, planned.epochs, tokens, memory, room, four_bit, checkpointing, seconds, advice
    )


def planned_bytes(made: Architecture, recipe: Recipe, device: Device) -> float:
    """Memory on a device for a training of a model that is not here yet, on rows of a hundred tokens."""
    return _memory(recipe, Shape.planned(made), 100, 10_000, 100, device)[0]


def pace_of(there: Sequence[Run], base: str) -> float:
    """Tokens a second of the newest run on a base that told them, 0 where none did."""
    for run in there:
        if run.base == base:
            told = [line["tokens_per_s"] for line in metrics(run.folder) if line.get("tokens_per_s")]
            if told:
                return float(median(told))
    return 0.0


def _memory(
    recipe: Recipe, shape: Shape, longest: int, tokens: int, rows: int, device: Device
) -> tuple[float, bool, bool]:
    quantised = wants_four_bit(recipe.load_in_4bit, device, shape.parameters)
    sizes = (shape.layers, shape.hidden)
    checkpointing = wants_checkpointing(recipe.checkpointing, device, shape.parameters, longest, *sizes, quantised)
    width = 4 if device.precision(shape.parameters, recipe.precision) == "fp32" else 2
    # NF4 with double quantisation: 4 bits and a half a byte of scales for every 64 weights.
    frozen = (shape.parameters - shape.blocks) * width + shape.blocks * (0.52 if quantised else width)
    trained = adapter_parameters(recipe, shape)
    # Weight, gradient, and in fp32: master, two moments, a copy of the gradient while it steps.
    stepped = trained * (width * 2 + (2 + 2 if recipe.optimiser == "adamw_8bit" and device.kind == "cuda" else 16))
    each = recipe.batch_size * recipe.accumulation
    pack = max(longest, pack_tokens(device, shape.parameters, *sizes, quantised, checkpointing))
    pack = min(pack, max(longest, round(each * tokens / rows)))
    kept, scores = activation_bytes(pack, *sizes, checkpointing) * width / 2, 0.0
    if device.kind == "cpu":
        kept *= 1.0 if checkpointing else LEAN / 34
        scores = SCORES * pack * pack * shape.layers * max(1, shape.hidden // 128) * width / 2
    logits = min(SLICE, pack) * shape.vocabulary * 10
    return LIBRARIES[device.kind] + frozen + stepped + kept + scores + logits, quantised, checkpointing


def adapter_parameters(recipe: Recipe, shape: Shape) -> int:
    """Weights that LoRA adds: r × (in + out) for every matrix that it is put on. All layers are alike."""
    wanted = _MODULES.get(recipe.targets, _MODULES["attention"] + _MODULES["mlp"])
    added = sum(recipe.lora_r * (rows + columns) for name, rows, columns in shape.matrices if name in wanted)
    return added * min(recipe.layers or shape.layers, shape.layers) // shape.layers


def _advice(recipe: Recipe, shape: Shape, lengths: Sequence[int], device: Device) -> dict[str, Any]:
    """The smallest changes, one upon the other, with which it would fit."""
    from dataclasses import replace

    steps: list[dict[str, Any]] = [{"checkpointing": "on"}, {"max_length": 256}, {"lora_r": 8, "lora_alpha": 16}]
    if device.kind == "cuda":
        steps.insert(0, {"load_in_4bit": "on", "optimiser": "adamw_8bit"})
    changed: dict[str, Any] = {}
    for step in steps:
        changed |= {name: value for name, value in step.items() if getattr(recipe, name) != value}
        tried = replace(recipe, **changed)
        cut = [min(length, tried.max_length) for length in lengths]
        if _memory(tried, shape, max(cut), sum(cut), len(cut), device)[0] <= device.memory * ROOM:
            return changed
    return {}
