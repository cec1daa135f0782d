"""What a training will need, before it starts: steps, memory, time. Knows no torch.

Memory is counted: weights as they are loaded, what is trained with its optimiser, what the largest pack keeps for its
way back, the logits of a slice. On a processor that is what the process holds, mapped weights among it. Time before the
first step is what runs on the same base took; the page tells it better from the run's own steps once there are some.
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
from anime_ai.training.packing import orders
from anime_ai.training.recipe import Recipe, plan
from anime_ai.training.runs import Run, metrics

LIBRARIES = {"cuda": 0.35e9, "cpu": 1.15e9, "mps": 1.15e9}
"""Bytes that torch and its friends hold: on a GPU its context and kernels, elsewhere the process before it loads a
model (0.75 GB of its own, 0.4 of libraries' files)."""
HEAP = 1.39
"""What the heap takes for what a pack keeps on a processor, with what is computed in between: the slope of the peaks
that `pytest -m benchmark -s tests/benchmarks/test_training_memory.py` prints, of packs of 434 to 1,228 tokens."""
TRAINED = 16
"""Bytes of a trained weight on a processor while a pack is on its way back: weight, gradient, master, two moments; in
32 bits no master. The step's own copy comes when the activations are gone."""
_MODULES = {
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
    "outputs": ("o_proj", "down_proj"),
}
_KEPT_OUTPUTS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
SLICES = {"cuda": 512, "mps": 128, "cpu": 128}
"""Trained tokens whose logits are there at once. Of a head that is trained, more than one slice is computed again on
the way back."""


@dataclass(frozen=True)
class Shape:
    """What of a base's size matters here. `blocks`: parameters of the layers' matrices, which 4 bits shrink;
    `looked_up`: of embeddings that are no head as well, of which a mapped file gives the rows in use."""

    layers: int
    hidden: int
    vocabulary: int
    blocks: int
    parameters: int
    matrices: tuple[tuple[str, int, int], ...]
    looked_up: int = 0

    @property
    def kept(self) -> int:
        """Numbers that a lean step (`lean`) keeps of a token for its way back, in all layers: what the norms read and
        give, what goes into attention and comes out, gate and up."""
        given = sum(out for name, out, _ in self.matrices if name in _KEPT_OUTPUTS)
        read = sum(into for name, _, into in self.matrices if name == "o_proj")
        return given + read + 4 * self.hidden * self.layers

    @classmethod
    def of(cls, base: Base) -> Shape:
        config = read_json(base.path / "config.json") or {}
        shapes = {name: size for file in base.path.glob("*.safetensors") for name, size in read_header(file).items()}
        inner = {
            name: size
            for name, size in shapes.items()
            if len(size) == 2 and name.split(".")[-2] in (*_MODULES["attention"], *_MODULES["mlp"])
        }
        head = shapes.get("lm_head.weight")
        return cls(
            layers=int(config.get("num_hidden_layers", 1)),
            hidden=int(config.get("hidden_size", 1)),
            vocabulary=int(config.get("vocab_size", 1)),
            blocks=sum(rows * columns for rows, columns in inner.values()),
            parameters=base.parameters(),
            matrices=tuple((name.split(".")[-2], *size) for name, size in inner.items()),  # type: ignore[misc]
            looked_up=head[0] * head[1] if head and not config.get("tie_word_embeddings") else 0,
        )

    @classmethod
    def planned(cls, made: Architecture) -> Shape:
        """Of a model that is not here yet."""
        matrices = made.matrices * made.layers
        blocks = sum(rows * columns for _, rows, columns in matrices)
        looked_up = 0 if made.tied else made.vocabulary * made.hidden
        return cls(made.layers, made.hidden, made.vocabulary, blocks, made.parameters, matrices, looked_up)


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


def estimate(
    recipe: Recipe, base: Base, lengths: Sequence[int], device: Device, pace: float = 0.0, common: int = 0
) -> Estimate:
    """For rows of these lengths in tokens, which begin with `common` tokens that are the same in all. `pace`: tokens a
    second, 0 where it is not known."""
    shape = Shape.of(base)
    planned = plan(recipe, len(lengths), shape.parameters)
    tokens = sum(lengths)
    memory, four_bit, checkpointing = _memory(recipe, shape, lengths, common, device)
    room = device.memory * ROOM
    advice: dict[str, Any] = {}
    if memory > room:
        advice = _advice(recipe, shape, lengths, common, device)
    seconds = tokens * planned.epochs / pace if pace else None
    return Estimate(
        len(lengths), planned.steps, planned.epochs, tokens, memory, room, four_bit, checkpointing, seconds, advice
    )


def planned_bytes(made: Architecture, recipe: Recipe, device: Device) -> float:
    """Memory on a device for a training of a model that is not here yet, on rows of a hundred tokens."""
    return _memory(recipe, Shape.planned(made), [100] * 100, 0, device)[0]


def pace_of(there: Sequence[Run], base: str) -> float:
    """Tokens a second of the newest run on a base that told them, 0 where none did."""
    for run in there:
        if run.base == base:
            told = [line["tokens_per_s"] for line in metrics(run.folder) if line.get("tokens_per_s")]
            if told:
                return float(median(told))
    return 0.0


def _memory(
    recipe: Recipe, shape: Shape, lengths: Sequence[int], common: int, device: Device
) -> tuple[float, bool, bool]:
    """Bytes, whether in 4 bits, whether with checkpointing."""
    quantised = wants_four_bit(recipe.load_in_4bit, device, shape.parameters)
    sizes, longest = (shape.layers, shape.hidden), max(lengths)
    checkpointing = wants_checkpointing(recipe.checkpointing, device, shape.parameters, longest, *sizes, quantised)
    width = 4 if device.precision(shape.parameters, recipe.precision) == "fp32" else 2
    # NF4 with double quantisation: 4 bits and a half a byte of scales for every 64 weights.
    frozen = (shape.parameters - shape.blocks) * width + shape.blocks * (0.52 if quantised else width)
    trained = adapter_parameters(recipe, shape)
    budget = pack_tokens(device, shape.parameters, *sizes, quantised, checkpointing)
    pack = _largest_pack(recipe, lengths, common, max(longest, budget))
    sliced = min(SLICES[device.kind], pack) * shape.vocabulary
    if device.kind == "cpu":
        if width == 2:  # as the file has it, so that it stays mapped
            frozen -= shape.looked_up * width
        stepped = trained * TRAINED
        kept = activation_bytes(pack, *sizes, True) * width / 2 if checkpointing else pack * shape.kept * width * HEAP
        logits = sliced * 6  # in fp32, and once more in 16 bits
    else:
        # Weight, gradient, and in fp32: master, two moments, a copy of the gradient while it steps.
        stepped = trained * (width * 2 + (2 + 2 if recipe.optimiser == "adamw_8bit" and device.kind == "cuda" else 16))
        kept = activation_bytes(pack, *sizes, checkpointing) * width / 2
        logits = sliced * 10
    return LIBRARIES[device.kind] + frozen + stepped + kept + logits, quantised, checkpointing


def _largest_pack(recipe: Recipe, lengths: Sequence[int], common: int, budget: int) -> int:
    """Tokens of the largest pack of the first pass, cut as `packing.Packer` does."""
    largest = max(lengths)
    if recipe.packing == "off":
        return largest
    each = recipe.batch_size * recipe.accumulation
    for step in orders(len(lengths), each, -(-len(lengths) // each), recipe.seed):
        size = 0
        for place in step:
            grown = size + lengths[place] - common if size else lengths[place]
            size = grown if grown <= budget else lengths[place]
            largest = max(largest, size)
    return largest


def adapter_parameters(recipe: Recipe, shape: Shape) -> int:
    """Weights that LoRA adds: r × (in + out) for every matrix that it is put on. All layers are alike."""
    wanted = _MODULES.get(recipe.targets, _MODULES["attention"] + _MODULES["mlp"])
    added = sum(recipe.lora_r * (rows + columns) for name, rows, columns in shape.matrices if name in wanted)
    return added * min(recipe.layers or shape.layers, shape.layers) // shape.layers


def _advice(recipe: Recipe, shape: Shape, lengths: Sequence[int], common: int, device: Device) -> dict[str, Any]:
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
        if _memory(tried, shape, cut, min(common, tried.max_length - 1), device)[0] <= device.memory * ROOM:
            return changed
    return {}
