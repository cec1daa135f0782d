"""The models that look at pictures: which there are, their licences, where they lie, how to get one.

Knows no picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from anime_ai.config import STARTER_COCA
from anime_ai.errors import VisionError
from anime_ai.models.hub import cached, fetch

STARTER = "starter"
Kind = Literal["list", "clip", "caption", "tagger"]
"""What it gives: a list of tags, likeness to labels, a sentence, or tags with probabilities."""


@dataclass(frozen=True)
class VisionModel:
    """A model by its id on the Hub. `files`: patterns of what is fetched, the first of them tells that it is there."""

    id: str
    kind: Kind
    licence: str
    megabytes: int
    files: tuple[str, ...] = ()


_OPEN_CLIP = ("open_clip_config.json", "open_clip_model.safetensors", "*.json", "*.model", "merges.txt")
KNOWN: tuple[VisionModel, ...] = (
    VisionModel(STARTER, "list", "Apache-2.0", 9),
    VisionModel("SmilingWolf/wd-vit-tagger-v3", "tagger", "Apache-2.0", 379, ("selected_tags.csv", "model.onnx")),
    VisionModel("laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k", "clip", "MIT", 1_460, _OPEN_CLIP),
    VisionModel("timm/ViT-B-32-SigLIP2-256", "clip", "Apache-2.0", 1_510, _OPEN_CLIP),
    VisionModel("laion/mscoco_finetuned_CoCa-ViT-B-32-laion2B-s13B-b90k", "caption", "MIT", 1_010, _OPEN_CLIP),
)


def known(id: str) -> VisionModel:
    """Raises VisionError for an id that is none of KNOWN."""
    found = next((model for model in KNOWN if model.id == id), None)
    if found is None:
        raise VisionError("vision.unknown_model", name=id[:100])
    return found


def folder_of(model: VisionModel) -> Path | None:
    """Where a model lies on this disk; None where it is not there."""
    if model.id == STARTER:
        return STARTER_COCA if (STARTER_COCA / "open_clip_config.json").is_file() else None
    folders = [cached(model.id, file) for file in model.files[:2]]
    return folders[0].parent if folders[0] and all(folders) else None


def get(model: VisionModel, timeout: float, tell: Callable[[], None] = lambda: None) -> Path:
    """A model's folder, fetched from the Hub or its mirror where it is not there. Raises ModelError."""
    return folder_of(model) or fetch(model.id, model.files, timeout, tell)
