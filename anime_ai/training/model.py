"""The model that a run trains: a base in the precision that the device can, with a fresh LoRA adapter on it.

Knows neither rows nor the run folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import BitsAndBytesConfig

from anime_ai.config import Settings
from anime_ai.models.adapters import check_adapter
from anime_ai.models.bases import Base
from anime_ai.models.device import Device, torch_dtype
from anime_ai.models.transformers_engine import load_model
from anime_ai.training.memory import pack_tokens, wants_checkpointing, wants_four_bit
from anime_ai.training.recipe import Recipe
from anime_ai.training.runs import FINAL

_ATTENTION, _MLP = ["q_proj", "k_proj", "v_proj", "o_proj"], ["gate_proj", "up_proj", "down_proj"]
TARGETS: dict[str, str | list[str]] = {
    "all": "all-linear",
    "attention": _ATTENTION,
    "mlp": _MLP,
    "outputs": ["o_proj", "down_proj"],
}
Notice = Callable[..., None]
"""Told a text key and its values when something else than asked was done."""


def trainable_model(
    base: Base,
    recipe: Recipe,
    device: Device,
    used: Sequence[int],
    longest: int,
    notice: Notice,
    settings: Settings,
) -> tuple[Any, str]:
    """The model and its precision. `used` are the tokens that the rows have, `longest` how many the longest row has."""
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
        # Frozen, and left as narrow as it is: PEFT's own preparation makes head and embeddings fp32, twice the memory.
        model.requires_grad_(False)
    else:
        model = load_model(base, torch_dtype(precision)).to(device.kind)
    model.config.use_cache = False
    shape = (model.config.num_hidden_layers, model.config.hidden_size)
    if wants_checkpointing(recipe.checkpointing, device, parameters, longest, *shape, quantised):
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if recipe.start_from:
        start = starting_adapter(recipe.start_from, base, settings)
        model = PeftModel.from_pretrained(model, str(start), is_trainable=True, autocast_adapter_dtype=False)
        # What is saved looks at the base's configuration: here, not on the Hub under the name that the adapter tells.
        model.peft_config["default"].base_model_name_or_path = str(base.path)
    else:
        model = get_peft_model(model, _adapter(recipe, parameters, used), autocast_adapter_dtype=False)
    # fp16 cannot hold what it learns; bf16 can, with fp32 masters in the optimiser.
    width = torch_dtype("bf16" if precision == "bf16" else "fp32")
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(width)
    return model, precision


def starting_adapter(named: str, base: Base, settings: Settings) -> Path:
    """The adapter's folder that `start_from` means: a run's id, or a folder. Raises ModelError for one that is none or
    of another base."""
    run = settings.runs_dir / named / FINAL
    folder = run if named.isalnum() and run.is_dir() else Path(named).expanduser()
    check_adapter(folder, base)
    return folder


def pack_budget(model: Any, device: Device, longest: int) -> int:
    """Tokens of a pack for a model that is loaded; the longest row at least."""
    base = model.get_base_model()
    parameters = sum(weight.numel() for weight in base.parameters())
    shape = (base.config.num_hidden_layers, base.config.hidden_size)
    quantised = getattr(base, "is_quantized", False)
    return max(longest, pack_tokens(device, parameters, *shape, quantised, base.is_gradient_checkpointing))


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


def _adapter(recipe: Recipe, parameters: int, used: Sequence[int]) -> LoraConfig:
    """LoRA (Hu et al. 2021) on linear layers of the blocks; rsLoRA (Kalajdzievski 2023) and DoRA (Liu et al. 2024)
    where asked for.

    A small base has hardly met most characters, and no low-rank change of its blocks lets it write them: there the
    embeddings of the tokens that the rows use are trained along.
    """
    targets = TARGETS[recipe.targets]
    if recipe.layers and targets == "all-linear":  # PEFT counts layers only where the matrices are named
        targets = _ATTENTION + _MLP
    return LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=targets,
        layers_to_transform=list(range(recipe.layers)) or None,
        use_rslora=recipe.rslora == "on",
        use_dora=recipe.dora == "on",
        trainable_token_indices=list(used) if recipe.trains_tokens(parameters) else None,
        task_type="CAUSAL_LM",
    )
