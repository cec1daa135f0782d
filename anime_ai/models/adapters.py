"""Reading an adapter folder before anything of it is loaded: safetensors only, and only for the base at hand."""

from __future__ import annotations

from pathlib import Path

from anime_ai.errors import ModelError
from anime_ai.files import read_json
from anime_ai.models.bases import Base

CARD = "anime_ai.json"
"""What this project writes beside an adapter: base, persona, prompt format, think policy, layout, figures."""


def read_card(folder: Path) -> dict[str, object]:
    """The adapter's own notes; empty for an adapter that was made elsewhere."""
    card = read_json(folder / CARD)
    return card if isinstance(card, dict) else {}


def base_of(folder: Path) -> str:
    """The model name on which an adapter was trained, as it can be found on this machine; "" where nothing says.

    Its card names the base as the world knows it; in a run folder `config.json` beside it knows the local folder.
    """
    run = read_json(folder.parent / "config.json")
    named = run.get("recipe", {}).get("base", "") if isinstance(run, dict) else ""
    if named and named != "auto":
        return str(named)
    config = read_json(folder / "adapter_config.json")
    published = config.get("base_model_name_or_path", "") if isinstance(config, dict) else ""
    return str(read_card(folder).get("base") or published or "")


def check_adapter(folder: Path, base: Base) -> None:
    """Raise ModelError unless `folder` is a whole LoRA adapter in safetensors that was trained on `base`."""
    config = read_json(folder / "adapter_config.json")
    if not isinstance(config, dict):
        raise ModelError("model.not_an_adapter", path=folder)
    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError("model.adapter_no_safetensors", path=folder)
    if config.get("peft_type") != "LORA" or config.get("auto_mapping") or config.get("modules_to_save"):
        raise ModelError("model.adapter_kind", path=folder, kind=config.get("peft_type"))
    trained_on = str(read_card(folder).get("base") or config.get("base_model_name_or_path") or "")
    if trained_on != base.id:
        raise ModelError("model.adapter_other_base", path=folder, trained_on=trained_on or "?", base=base.id)
