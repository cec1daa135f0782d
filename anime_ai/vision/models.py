"""The models that look at pictures: which there are, their licences, where they lie, how to get one.

Knows no picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from anime_ai.config import STARTER_COCA
from anime_ai.errors import VisionError
from anime_ai.files import read_json
from anime_ai.models.catalogue import entry
from anime_ai.models.fetching import Order, fetch
from anime_ai.models.hub import cached, is_hub_id
from anime_ai.vision.clip import CONFIG, WEIGHTS

STARTER = "starter"
TOWER = "config.json"
Kind = Literal["list", "clip", "caption", "tagger"]
"""What it gives: a list of tags, likeness to labels, a sentence, or tags with probabilities."""


@dataclass(frozen=True)
class VisionModel:
    """A model by its id on the Hub. `needed`: files without which it cannot be used."""

    id: str
    kind: Kind
    licence: str
    megabytes: int
    needed: tuple[str, ...] = ()


def _offered(id: str, kind: Kind) -> VisionModel:
    one = entry(id)
    return VisionModel(id, kind, one.licence, one.size // 10**6, one.needed)


KNOWN: tuple[VisionModel, ...] = (
    VisionModel(STARTER, "list", "Apache-2.0", 9),
    _offered("SmilingWolf/wd-vit-tagger-v3", "tagger"),
    _offered("laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k", "clip"),
    _offered("timm/ViT-B-32-SigLIP2-256", "clip"),
    _offered("laion/mscoco_finetuned_CoCa-ViT-B-32-laion2B-s13B-b90k", "caption"),
)


def known(id: str) -> VisionModel:
    """Raises VisionError for an id that is none of KNOWN."""
    found = next((model for model in KNOWN if model.id == id), None)
    if found is None:
        raise VisionError("vision.unknown_model", name=id[:100])
    return found


def folder_of(model: VisionModel) -> Path | None:
    """Where a model lies on this disk; None where it, or something of it, is not there."""
    if model.id == STARTER:
        return STARTER_COCA if (STARTER_COCA / WEIGHTS).is_file() else None
    there = [cached(model.id, file) for file in model.needed]
    if not there or not all(there):
        return None
    folder = there[0].parent  # type: ignore[union-attr]
    return folder if all(cached(other, TOWER) for other in _towers(folder)) else None


def get(model: VisionModel, timeout: float, tell: Callable[[], None] = lambda: None) -> Path:
    """A model's folder, fetched from the Hub or its mirror where it is not there.

    Raises ModelError, and VisionError where the Hub has less of it than is needed.
    """
    found = folder_of(model)
    if found is None:
        folder = fetch(model.id, entry(model.id).files, timeout, tell)
        for other in _towers(folder):
            fetch(other, (TOWER,), timeout)
        found = folder_of(model)
    if found is None:
        raise VisionError("vision.no_model", name=model.id, why=", ".join(model.needed))
    return found


def wanted(folder: Path) -> Sequence[Order]:
    """What else a model in a folder wants before it can be used."""
    return [Order(other, (TOWER,), (TOWER,)) for other in _towers(folder)]


def _towers(folder: Path) -> list[str]:
    """Other models on the Hub whose configuration an open_clip model is built with: that of its text tower."""
    told = read_json(folder / CONFIG)
    text = told.get("model_cfg", {}).get("text_cfg", {}) if isinstance(told, dict) else {}
    name = str(text.get("hf_model_name") or "")
    return [name] if is_hub_id(name) or (name and "/" not in name) else []
