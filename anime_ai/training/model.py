"""The model that a run trains: a base in the precision that the device can, with a fresh LoRA adapter on it.

Knows neither rows nor the run folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import BitsAndBytesConfig

from anime_ai.models.bases import Base
from anime_ai.models.device import Device, torch_dtype
from anime_ai.models.transformers_engine import load_model
from anime_ai.training.memory import wants_checkpointing, wants_four_bit
from anime_ai.training.recipe import Recipe

Notice = Callable[..., None]
"""Told a text key and its values when something else than asked was done."""


def trainable_model(
    base: Base, recipe: Recipe, device: Device, rows: Sequence[Sequence[int]], batch: int, notice: Notice
) -> tuple[Any, str]:
    """The model and its precision. `rows` are the token ids that it will be trained on, `batch` of them at a time."""
    parameters = base.parameters()
    precision = device.precision(parameters, recipe.precision)
    if recipe.precision not in ("auto", precision):
        notice("training.precision", wanted=recipe.precision, used=precision)
    quantised = _four_bit(recipe, device, parameters, notice)
    if quantised:
        # NF4 with double quantisation (Dettmers et al. 2023, QLoRA).
        packed = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch_dtype(precision),
        )
        model = load_model(base, torch_dtype(precision), quantization_config=packed, device_map={"": device.kind})
        for module in model.modules():
            # bitsandbytes packs a CPU's weights anew at the first evaluation, into a layout that cannot be trained on.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    else:
        model = load_model(base, torch_dtype(precision)).to(device.kind)
    model.config.use_cache = False
    shape = (model.config.num_hidden_layers, model.config.hidden_size)
    tokens = max(len(row) for row in rows) * batch
    if wants_checkpointing(recipe.checkpointing, device, parameters, tokens, *shape, quantised):
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model = get_peft_model(model, _adapter(recipe, parameters, rows))
    head: Any = model.get_base_model().get_output_embeddings()  # type: ignore[operator]
    if not hasattr(head, "bias"):
        # PEFT's wrapper of a tied head hides that there is no bias, which TRL's loss asks for.
        head.register_parameter("bias", None)
    return model, precision


def four_bit_fault(device: Device) -> str:
    """Why 4-bit weights cannot be used here; empty when they can."""
    if device.kind == "mps":
        return "mps"
    try:
        import bitsandbytes  # noqa: F401
    except Exception as error:  # a broken native library raises anything
        return f"{type(error).__name__}: {error}".splitlines()[0][:120]
    return ""


def _four_bit(recipe: Recipe, device: Device, parameters: int, notice: Notice) -> bool:
    """Whether the weights are packed into 4 bits: where asked for or needed, and possible."""
    if not wants_four_bit(recipe.load_in_4bit, device, parameters):
        return False
    why = four_bit_fault(device)
    if why:
        notice("training.no_four_bit", why=why)
    return not why


def _adapter(recipe: Recipe, parameters: int, rows: Sequence[Sequence[int]]) -> LoraConfig:
    """LoRA (Hu et al. 2021) on all linear layers of the blocks.

    A small base has hardly met most characters, and no low-rank change of its blocks lets it write them: there the
    embeddings of the tokens that the rows use are trained along.
    """
    used = sorted({token for row in rows for token in row}) if recipe.trains_tokens(parameters) else None
    return LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules="all-linear",
        trainable_token_indices=used,
        task_type="CAUSAL_LM",
    )
