"""open_clip models in their published form: pictures and texts to vectors, and captions where the model writes them.

A folder holds `open_clip_config.json`, `open_clip_model.safetensors` and a tokenizer. Knows no tags.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anime_ai.errors import VisionError
from anime_ai.models.imports import one_at_a_time

if TYPE_CHECKING:
    from PIL import Image

Vectors = NDArray[np.float32]
"""Unit vectors, (pictures or texts, dimensions)."""
CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
BATCH = 16


@dataclass(frozen=True)
class Caption:
    """What a model wrote under a picture; `likely`: of each token, from 0 to 1."""

    text: str
    tokens: tuple[int, ...]
    likely: tuple[float, ...]


class Clip:
    """A model of a folder, loaded at the first picture or text. `id` tells its vectors from others'."""

    def __init__(self, folder: Path, id: str) -> None:
        self.folder, self.id = folder, id
        self._loading = threading.Lock()

    def embed(self, pictures: Sequence[Image.Image]) -> Vectors:
        """Raises VisionError where the model cannot be loaded."""
        return self._gathered(pictures, lambda batch: self.model.encode_image(batch, normalize=True))

    def features(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        """All that a CoCa's tower hands on, the picture's vector and its tokens, (pictures, values)."""
        import torch

        def look(batch: Any) -> Any:
            whole, parts = self.model._encode_image(batch)
            return torch.cat([whole, parts.flatten(1)], dim=1)

        return self._gathered(pictures, look)

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        import torch

        with torch.inference_mode():
            found = self.model.encode_text(self._tokenized(texts).to(self._device), normalize=True)
        return np.asarray(found.float().cpu(), np.float32)

    def caption(self, pictures: Sequence[Image.Image], **sampling: Any) -> list[Caption]:
        """A caption a picture; see `anime_ai.vision.captions` for the sampling.

        Raises VisionError for a model that writes none.
        """
        import torch

        from anime_ai.vision.captions import captions

        if not self.writes:
            raise VisionError("vision.writes_nothing", name=self.id)
        begin, end = self._ends
        found: list[Caption] = []
        with torch.inference_mode():
            for start in range(0, len(pictures), BATCH):
                _, seen = self.model._encode_image(self._prepared(pictures[start : start + BATCH]))
                found += [
                    Caption(self.tokenizer.decode(tokens).strip(), tuple(tokens), tuple(likely))
                    for tokens, likely in captions(self.model, seen, begin, end, **sampling)
                ]
        return found

    @property
    def sharpness(self) -> float:
        """What cosines are multiplied by before they become probabilities, as the model learned it."""
        return float(self.model.logit_scale.detach().exp())

    @property
    def writes(self) -> bool:
        """Whether it is a CoCa, which captions."""
        return "multimodal_cfg" in self.config["model_cfg"]

    @cached_property
    def config(self) -> dict[str, Any]:
        try:
            read: dict[str, Any] = json.loads((self.folder / CONFIG).read_text(encoding="utf-8"))
            _ = read["model_cfg"]["text_cfg"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise VisionError("vision.no_model", name=self.id, why=error) from error
        if not (self.folder / WEIGHTS).is_file():
            raise VisionError("vision.no_model", name=self.id, why=WEIGHTS)
        return read

    @property
    def model(self) -> Any:
        with self._loading:
            return self._model

    @cached_property
    def _model(self) -> Any:
        from safetensors import SafetensorError

        from anime_ai.models.device import pick_device, use_allowed_threads

        _ = self.config
        use_allowed_threads()
        with one_at_a_time:
            import open_clip

            try:
                made = open_clip.create_model(f"local-dir:{self.folder}", precision="fp32", device=pick_device().kind)
            except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
                raise VisionError("vision.no_model", name=self.id, why=str(error).split("\n")[0]) from error
        return made.eval()

    @cached_property
    def tokenizer(self) -> Any:
        """The folder's own. open_clip's wrapper around it rewrites punctuation, full-width to half-width."""
        with one_at_a_time:
            from transformers import AutoTokenizer

            try:
                return AutoTokenizer.from_pretrained(self.folder, trust_remote_code=False)
            except (OSError, ValueError) as error:
                raise VisionError("vision.no_model", name=self.id, why=str(error).split("\n")[0]) from error

    @property
    def _own_tokenizer(self) -> bool:
        if not (self.folder / "tokenizer.json").is_file():
            return False
        return (
            None not in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id) and not self.tokenizer("").input_ids
        )

    @property
    def _device(self) -> Any:
        return self.model.logit_scale.device

    @property
    def _ends(self) -> tuple[int, int]:
        return int(self.tokenizer.bos_token_id), int(self.tokenizer.eos_token_id)

    def _tokenized(self, texts: Sequence[str]) -> Any:
        """(texts, context), padded. A published model's texts go through open_clip, as in its training; a tokenizer of
        ours is told by its marks of begin and end, which it does not write by itself."""
        with one_at_a_time:
            import open_clip

        text = self.config["model_cfg"]["text_cfg"]
        if text.get("hf_tokenizer_name") or text.get("hf_model_name") or not self._own_tokenizer:
            return open_clip.get_tokenizer(f"local-dir:{self.folder}")(list(texts))
        begin, end = self._ends
        length = int(text["context_length"])
        return _padded([[begin, *ids, end] for ids in self.tokenizer(list(texts)).input_ids], length, end)

    @cached_property
    def _prepare(self) -> Any:
        with one_at_a_time:
            from open_clip.transform import PreprocessCfg, image_transform_v2

        size = self.config["model_cfg"]["vision_cfg"].get("image_size", 224)
        given = {"size": size, **self.config.get("preprocess_cfg", {})}
        return image_transform_v2(PreprocessCfg(**given), is_train=False)

    def _prepared(self, pictures: Sequence[Image.Image]) -> Any:
        """(pictures, 3, height, width), as the model wants them."""
        import torch

        return torch.stack([self._prepare(picture) for picture in pictures]).to(self._device)

    def _gathered(self, pictures: Sequence[Image.Image], look: Any) -> Vectors:
        import torch

        found = []
        with torch.inference_mode():
            for start in range(0, len(pictures), BATCH):
                seen = look(self._prepared(pictures[start : start + BATCH]))
                found.append(np.asarray(seen.float().cpu(), np.float32))
        return np.concatenate(found) if found else np.zeros((0, int(self.config["model_cfg"]["embed_dim"])), np.float32)


def unit(vectors: NDArray[Any]) -> Vectors:
    """The vectors, (…, dimensions), at length one; what is nothing stays nothing."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9), np.float32)


def _padded(rows: Sequence[Sequence[int]], length: int, padding: int) -> Any:
    """(rows, length) of token ids; a row that is too long keeps its last token."""
    import torch

    cut = [[*row[: length - 1], row[-1]] if len(row) > length else list(row) for row in rows]
    return torch.tensor([[*row, *([padding] * (length - len(row)))] for row in cut])
