"""Reading an adapter folder before anything of it is loaded: safetensors only, plain LoRA, for the base at hand.

Plain LoRA changes linear layers, and perhaps the embeddings of some tokens.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from anime_ai.errors import ModelError
from anime_ai.files import read_json_again
from anime_ai.models.bases import Base, read_header

CARD = "anime_ai.json"
"""What this project writes beside an adapter: base, persona, prompt format, think policy, layout, figures."""
WEIGHTS = "adapter_model.safetensors"

_PLAIN = {
    *("task_type", "peft_type", "peft_version", "base_model_name_or_path", "revision", "inference_mode", "r"),
    *("target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out", "use_rslora", "use_dora"),
    *("layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "qalora_group_size"),
    "trainable_token_indices",
    # Names a Python module, which is imported only where `megatron_config` is set.
    "megatron_core",
}
"""Entries of a LoRA configuration that may say anything. The others load code, replace whole modules or rewrite the
base's own weights, and must be off."""
_OFF: tuple[Any, ...] = (None, False, "none", {}, [])


def read_card(folder: Path) -> dict[str, object]:
    """The adapter's own notes; empty for an adapter that was made elsewhere."""
    card = read_json_again(folder / CARD)
    return dict(card) if isinstance(card, dict) else {}


def fingerprint(folder: Path) -> str:
    """The SHA-256 of an adapter's weights; "" where they are gone."""
    try:
        stamp = (folder / WEIGHTS).stat()
        return _sha256(folder, stamp.st_mtime_ns, stamp.st_size)
    except OSError:
        return ""


@lru_cache(maxsize=64)
def _sha256(folder: Path, changed: int, size: int) -> str:
    with open(folder / WEIGHTS, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
        return digest.hexdigest()


def base_of(folder: Path) -> str:
    """The model name on which an adapter was trained, as it can be found on this machine; "" where nothing says.

    Its card names the base as the world knows it; where that was a folder, `config.json` of the run folder around it
    knows where the folder is.
    """
    named = _published_base(folder)
    run = read_json_again(folder.parent / "config.json")
    recipe = run.get("recipe") if isinstance(run, dict) else None
    local = str(recipe.get("base") or "") if isinstance(recipe, dict) else ""
    # The run folder may belong to a later run by now, on another base.
    return local if local and Path(local).expanduser().resolve().name == named else named


def _published_base(folder: Path) -> str:
    config = read_json_again(folder / "adapter_config.json")
    published = config.get("base_model_name_or_path", "") if isinstance(config, dict) else ""
    return str(read_card(folder).get("base") or published or "")


def check_adapter(folder: Path, base: Base) -> None:
    """Raise ModelError unless `folder` is a whole plain LoRA adapter in safetensors that was trained on `base`."""
    check_plain(folder)
    trained_on = _published_base(folder)
    if not base.known_as(trained_on):
        raise ModelError("model.adapter_other_base", path=folder, trained_on=trained_on or "?", base=base.id)
    fingerprint = read_card(folder).get("base_fingerprint")
    if fingerprint and (base.made_of() or fingerprint) != fingerprint:
        raise ModelError("model.adapter_base_changed", path=folder, base=base.id)
    read_header(folder / WEIGHTS)


def check_plain(folder: Path) -> None:
    """Raise ModelError unless `folder` holds a plain LoRA adapter in safetensors, whatever base it is for."""
    config = read_json_again(folder / "adapter_config.json")
    if not isinstance(config, dict):
        raise ModelError("model.not_an_adapter", path=folder)
    if not (folder / WEIGHTS).is_file():
        raise ModelError("model.adapter_no_safetensors", path=folder)
    if config.get("peft_type") != "LORA":
        raise ModelError("model.adapter_kind", path=folder, kind=config.get("peft_type"))
    if config.get("init_lora_weights") not in (True, False, "gaussian", None):
        raise ModelError("model.adapter_kind", path=folder, kind="init_lora_weights")
    for name, value in config.items():
        if name not in _PLAIN and name != "init_lora_weights" and value not in _OFF:
            raise ModelError("model.adapter_kind", path=folder, kind=name)
