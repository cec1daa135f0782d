"""What one training run can be told: the only list of its settings. Forms, files and flags derive from it.

Labels and help of a field `x` are the texts "recipe.x" and "recipe.x.help". Knows no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from anime_ai.config import Settings
from anime_ai.errors import SettingsError

SMALL = 100_000_000
"""Parameters under which a base counts as small: it has met few characters often enough to write them."""
MIN_STEPS = 60
PLOTTED_POINTS = 30
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"epochs": 3, "lora_r": 8, "lora_alpha": 16, "evaluations": 3, "keep": "last"},
    "standard": {"epochs": 0, "lora_r": 16, "lora_alpha": 32, "evaluations": 6, "keep": "last"},
    "thorough": {"epochs": 15, "lora_r": 32, "lora_alpha": 64, "evaluations": 12, "keep": "style"},
}
"""How much pains to take; text keys under "preset."."""
MEMORY: dict[str, dict[str, Any]] = {
    "4gb": {"load_in_4bit": "on", "checkpointing": "on", "max_length": 512, "optimiser": "adamw_8bit"},
    "6gb": {"load_in_4bit": "on", "checkpointing": "auto", "max_length": 1024, "optimiser": "adamw_8bit"},
    "8gb": {"load_in_4bit": "auto", "checkpointing": "auto", "max_length": 1024, "optimiser": "adamw"},
    "12gb": {"load_in_4bit": "off", "checkpointing": "auto", "max_length": 1024, "optimiser": "adamw"},
    "24gb": {"load_in_4bit": "off", "checkpointing": "off", "max_length": 2048, "optimiser": "adamw"},
    "cpu": {"load_in_4bit": "off", "checkpointing": "off", "max_length": 512, "optimiser": "adamw"},
}
"""By the memory of the card, for a base of 1.5 B parameters."""


def _number(default: float, least: float, most: float) -> Any:
    return field(default=default, metadata={"min": least, "max": most})


def _text() -> Any:
    return field(default="", metadata={"text": True})


def _choice(default: str, *choices: str) -> Any:
    return field(default=default, metadata={"choices": choices})


@dataclass(frozen=True)
class Recipe:
    """A run's settings. 0 for `epochs`, `steps` or `learning_rate` means: by the number of rows, by the size of the
    model. A step trains on `batch_size` × `accumulation` rows, as many at once as the memory has room for."""

    BASIC: ClassVar[tuple[str, ...]] = ("base", "persona", "epochs", "batch_size", "learning_rate")
    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "rows": ("method", "start_from", "beta", "think", "prompt_format", "max_length"),
        "steps": ("steps", "accumulation", "schedule", "warmup", "neftune", "seed"),
        "lora": (
            *("lora_r", "lora_alpha", "lora_dropout", "targets", "layers", "train_tokens"),
            *("rslora", "dora", "lora_plus"),
        ),
        "machine": ("precision", "load_in_4bit", "optimiser", "checkpointing", "packing", "processes"),
        "watch": ("evaluations", "keep", "patience"),
    }
    """How a form shows the others; text keys under "recipe.group."."""

    base: str = "auto"
    persona: str = "傲娇"
    method: str = _choice("sft", "sft", "dpo")
    start_from: str = _text()
    prompt_format: str = _choice("auto", "auto", "deepseek-r1", "chatml", "seed")
    think: str = _choice("silent", "silent", "inner", "open")
    epochs: float = _number(0, 0, 1000)
    steps: int = _number(0, 0, 1_000_000)
    batch_size: int = _number(2, 1, 256)
    accumulation: int = _number(1, 1, 256)
    learning_rate: float = _number(0, 0, 0.05)
    schedule: str = _choice("cosine", "cosine", "linear", "constant")
    warmup: float = _number(0.05, 0, 0.5)
    max_length: int = _number(512, 32, 32768)
    lora_r: int = _number(16, 1, 512)
    lora_alpha: int = _number(32, 1, 2048)
    lora_dropout: float = _number(0.0, 0, 0.9)
    targets: str = _choice("all", "all", "attention", "mlp", "outputs")
    layers: int = _number(0, 0, 1000)
    rslora: str = _choice("off", "off", "on")
    dora: str = _choice("off", "off", "on")
    lora_plus: float = _number(1.0, 1, 64)
    neftune: float = _number(0.0, 0, 100)
    beta: float = _number(0.1, 0.001, 10)
    train_tokens: str = _choice("auto", "auto", "on", "off")
    precision: str = _choice("auto", "auto", "bf16", "fp16", "fp32")
    load_in_4bit: str = _choice("auto", "auto", "on", "off")
    optimiser: str = _choice("adamw", "adamw", "adamw_8bit")
    checkpointing: str = _choice("auto", "auto", "on", "off")
    packing: str = _choice("on", "on", "off")
    evaluations: int = _number(6, 1, 1000)
    keep: str = _choice("last", "last", "eval_loss", "style")
    patience: int = _number(0, 0, 1000)
    processes: int = _number(1, 1, 64)
    seed: int = _number(42, 0, 2**32 - 1)

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            choices = one.metadata.get("choices")
            if choices and value not in choices:
                raise SettingsError("settings.choice", name=one.name, value=value, choices="、".join(choices))
            if "min" in one.metadata:
                least, most = one.metadata["min"], one.metadata["max"]
                kinds = int if one.type == "int" else (int, float)
                if isinstance(value, bool) or not isinstance(value, kinds):
                    raise SettingsError("settings.not_a_number", name=one.name, value=value)
                if not least <= value <= most:
                    raise SettingsError("settings.bounds", name=one.name, value=value, least=least, most=most)
        for name in ("base", "persona"):
            if not getattr(self, name).strip():
                raise SettingsError("settings.blank", name=name)
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        """Settings of which one makes the other meaningless are named, not silently passed over."""
        for name, other, contradict in (
            ("steps", "epochs", self.steps and self.epochs),
            ("neftune", "method", self.neftune and self.method == "dpo"),
            ("patience", "evaluations", self.patience >= self.evaluations),
        ):
            if contradict:
                raise SettingsError("settings.contradiction", name=name, other=other)
        if self.method == "dpo" and not self.start_from.strip():
            raise SettingsError("settings.dpo_needs_an_adapter", name="start_from")

    @classmethod
    def from_values(cls, values: Mapping[str, object], settings: Settings | None = None) -> Recipe:
        """A recipe of `values` (text or numbers; None: not named) above the defaults that the settings give.

        Raises SettingsError that names the field, its value and what is allowed; an unknown field is refused.
        """
        settings = settings or Settings.load()
        defaults: dict[str, Any] = {
            "base": settings.model_name,
            "persona": settings.persona,
            "prompt_format": settings.prompt_format,
            "think": settings.think,
            "batch_size": settings.batch_size,
            "max_length": settings.max_length,
            "precision": "auto" if settings.fp16 else "fp32",
            "load_in_4bit": settings.load_in_4bit,
            "seed": settings.seed,
        }
        known = {one.name: one for one in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise SettingsError("settings.unknown", name=name, known="、".join(known))
            if value is not None:
                defaults[name] = _parse(name, value, str(known[name].type))
        return cls(**defaults)

    def trains_tokens(self, parameters: int) -> bool:
        """Whether the embeddings of the tokens that the rows use are trained beside the LoRA weights."""
        return self.train_tokens == "on" or (self.train_tokens == "auto" and parameters < SMALL)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def _parse(name: str, value: object, kind: str) -> Any:
    if kind == "str":
        return str(value).strip()
    try:
        number = float(str(value))
        if kind == "int" and number != int(number):
            raise ValueError
        return int(number) if kind == "int" else number
    except (ValueError, OverflowError) as error:
        raise SettingsError("settings.not_a_number", name=name, value=value) from error


@dataclass(frozen=True)
class Plan:
    """What a recipe comes to for some rows and a model: optimiser steps and how often something is recorded."""

    steps: int
    epochs: float
    log_every: int
    eval_every: int
    warmup: int
    learning_rate: float


def plan(recipe: Recipe, rows: int, parameters: int) -> Plan:
    """At least 60 optimiser steps (unless their number is named), 30 plotted points and as many evaluations as asked.

    By the number of rows: few rows want many passes before a voice is learned, many rows few. A small model (under
    100 M parameters) learns less from each pass: it gets more of them and a higher rate.
    """
    small = parameters < SMALL
    per_epoch = max(1, math.ceil(rows / (recipe.batch_size * recipe.accumulation)))
    passes, small_passes = (10.0, 30.0) if rows <= 100 else (5.0, 8.0) if rows <= 1000 else (3.0, 5.0)
    if recipe.method == "dpo":  # preferences move an adapter that knows its words already
        passes, small_passes = 3.0, 3.0
    epochs = recipe.epochs or (small_passes if small else passes)
    steps = recipe.steps or max(MIN_STEPS, math.ceil(per_epoch * epochs))
    return Plan(
        steps=steps,
        epochs=steps / per_epoch,
        log_every=max(1, steps // (2 * PLOTTED_POINTS)),
        eval_every=max(1, steps // recipe.evaluations),
        warmup=max(1, round(steps * recipe.warmup)) if recipe.warmup else 0,
        learning_rate=recipe.learning_rate or (2e-3 if small else 2e-4) * (0.1 if recipe.method == "dpo" else 1.0),
    )
