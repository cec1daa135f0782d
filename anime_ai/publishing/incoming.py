"""An adapter that came from elsewhere, looked at before anything of it is kept: notes, configuration, weights.

Its configuration is written anew from what was understood; nothing that it names is fetched. Knows no archive.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anime_ai.errors import ModelError, PublishError
from anime_ai.files import read_json, write_json
from anime_ai.models.adapters import CARD, WEIGHTS, check_adapter, check_plain
from anime_ai.models.bases import STARTER, find_base, read_header
from anime_ai.models.catalogue import CATALOGUE
from anime_ai.models.hub import cached, is_hub_id
from anime_ai.prompting import FORMATS, POLICIES
from anime_ai.publishing.trained import noted
from anime_ai.texts import catalogue

MOST_RANK = 1024
MOST_MODULES = 64
MOST_LAYERS = 1000
MOST_TOKENS = 4096
MOST_LINE = 4_000
_MODULE = re.compile(r"[A-Za-z0-9_]{1,60}")
_ELSEWHERE = ("rank_pattern", "alpha_pattern", "layers_pattern", "exclude_modules")
"""Entries that would make a plain adapter another one, some of them regular expressions of a stranger."""


def known_base(name: str) -> bool:
    """Whether a base is the starter, in the catalogue, or on this disk by its id: no path and no unknown address."""
    if name == STARTER or any(one.id == name and one.kind == "base" for one in CATALOGUE):
        return True
    return is_hub_id(name) and cached(name, "config.json") is not None


def checked_notes(told: object) -> dict[str, Any]:
    """The notes of a stranger's adapter. Raises PublishError for what makes no sense."""
    notes = noted(told) if isinstance(told, dict) else {}
    sensible = notes.get("prompt_format") in FORMATS and notes.get("think") in POLICIES
    if not sensible or not notes.get("base") or len(str(notes.get("system_line", ""))) > MOST_LINE:
        raise PublishError("publishing.adapter", why=CARD)
    if any(isinstance(value, float) and not math.isfinite(value) for value in notes.values()):
        raise PublishError("publishing.adapter", why=CARD)
    return notes


def settle(folder: Path, settings: Any, persona: str) -> dict[str, Any]:
    """Look at an adapter that lies in `folder` and write its configuration and notes anew, for `persona`; its notes.

    Where the base is on this disk it has to fit. Raises PublishError and ModelError.
    """
    notes = {**checked_notes(read_json(folder / CARD)), "persona": persona}
    check_plain(folder)
    config = _checked_config(read_json(folder / "adapter_config.json"), str(notes["base"]))
    _check_weights(read_header(folder / WEIGHTS))
    write_json(folder / "adapter_config.json", config)
    write_json(folder / CARD, notes)
    try:
        base = find_base(str(notes["base"]), settings)
    except ModelError:  # not here yet: it is looked at again before the first answer
        return notes
    check_adapter(folder, base)
    return notes


def checked_scores(told: object) -> dict[str, dict[str, float]]:
    """Figures by metrics that this program knows; the others are left out."""
    found = {}
    for name, figure in told.items() if isinstance(told, dict) else ():
        values = figure if isinstance(figure, dict) else {}
        numbers: dict[str, Any] = {one: values.get(one) for one in ("base", "adapter", "low", "high")}
        if f"metric.{name}" in catalogue("zh") and all(map(_is_figure, numbers.values())):
            found[str(name)] = {one: float(value) for one, value in numbers.items()}
    return found


def _checked_config(told: Mapping[str, Any], base: str) -> dict[str, Any]:
    rank, alpha, modules = told.get("r"), told.get("lora_alpha"), told.get("target_modules")
    tokens, layers = told.get("trainable_token_indices"), told.get("layers_to_transform")
    sensible = (
        isinstance(rank, int)
        and 0 < rank <= MOST_RANK
        and _is_figure(alpha)
        and isinstance(modules, list)
        and 0 < len(modules) <= MOST_MODULES
        and all(isinstance(one, str) and _MODULE.fullmatch(one) for one in modules)
        and not any(told.get(name) for name in _ELSEWHERE)
        and (tokens is None or (isinstance(tokens, list) and len(tokens) <= MOST_TOKENS))
        and (layers is None or (isinstance(layers, list) and len(layers) <= MOST_LAYERS))
        and all(isinstance(one, int) and one >= 0 for one in (*(tokens or ()), *(layers or ())))
    )
    if not sensible:
        raise PublishError("publishing.adapter", why="adapter_config.json")
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": modules,
        "layers_to_transform": layers,
        "bias": "none",
        "use_rslora": told.get("use_rslora") is True,
        "use_dora": told.get("use_dora") is True,
        "trainable_token_indices": tokens,
    }


def _check_weights(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Only what LoRA has, in sizes that a matrix has."""
    for name, shape in shapes.items():
        known = name.startswith("base_model.model.") and any(part in name for part in ("lora_", "token_adapter"))
        if not known or not 0 < len(shape) <= 2 or any(not 0 < side < 2**24 for side in shape):
            raise PublishError("publishing.adapter", why=name[:120])


def _is_figure(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
