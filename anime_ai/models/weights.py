"""A base's weights, a slice at a time, with or without an adapter merged into them. Holds no tensor. Knows no format.

Merging is W + s·B·A (Hu et al. 2021, LoRA), behind it the magnitudes of DoRA (Liu et al. 2024), and the rows of the
embeddings that were trained along.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anime_ai.errors import ModelError
from anime_ai.files import read_json
from anime_ai.models.adapters import WEIGHTS, check_adapter
from anime_ai.models.bases import Base, read_header

if TYPE_CHECKING:
    import numpy as np

ROWS = 8192
"""Rows of a slice, for matrices of which a few thousand rows take some dozen MB."""
_ADAPTED = "base_model.model."
_TOKENS = "embed_tokens.token_adapter.trainable_tokens_delta"


class Weights:
    """Use as a context. `shapes` by name, in the files' order; matrices are (out, in)."""

    def __init__(self, base: Base, adapter: Path | None = None) -> None:
        self.base, self.adapter = base, adapter
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._files: dict[str, Path] = {}
        for file in sorted(base.path.glob("*.safetensors")):
            for name, shape in read_header(file).items():
                self.shapes[name], self._files[name] = shape, file
        self._changes: dict[str, Any] = {}
        self._config: dict[str, Any] = {}

    def __enter__(self) -> Weights:
        if self.adapter is not None:
            check_adapter(self.adapter, self.base)
            self._config = read_json(self.adapter / "adapter_config.json") or {}
            if self._config.get("alpha_pattern") or self._config.get("rank_pattern"):
                raise ModelError("model.adapter_kind", path=self.adapter, kind="alpha_pattern")
            self._changes = dict(_tensors(self.adapter / WEIGHTS))
        return self

    def __exit__(self, *error: object) -> None:
        self._changes.clear()

    @property
    def changes_tokens(self) -> bool:
        """Whether the adapter has embeddings of its own, which no LoRA file can hold."""
        return any(name.endswith(_TOKENS) for name in self._changes)

    @property
    def changes_magnitudes(self) -> bool:
        """Whether it is a DoRA, which no LoRA file can hold."""
        return any("lora_magnitude_vector" in name for name in self._changes)

    def slices(self, name: str) -> Iterator[np.ndarray]:
        """A tensor's rows in order, as float32, some at a time; a vector in one piece."""
        from safetensors import safe_open

        count = self.shapes[name][0]
        step = count if len(self.shapes[name]) == 1 else ROWS
        for start in range(0, count, step):
            # Opened for each: what was read of a mapped file counts as this process's memory until it is closed.
            with safe_open(str(self._files[name]), "pt") as opened:
                rows = opened.get_slice(name)[start : start + step].float().numpy()
            yield self._merged(name, start, rows)

    def _merged(self, name: str, start: int, rows: np.ndarray) -> np.ndarray:
        import numpy as np

        layer = _ADAPTED + name.removesuffix(".weight")
        down, up = (self._changes.get(f"{layer}.lora_{side}.weight") for side in "AB")
        if down is not None and up is not None:
            rows = rows + self.scale(down.shape[0]) * (up[start : start + len(rows)] @ down)
            magnitude = self._changes.get(f"{layer}.lora_magnitude_vector")
            if magnitude is not None:
                wanted = magnitude[start : start + len(rows), None]
                rows = rows * (wanted / np.linalg.norm(rows, axis=1, keepdims=True))
        if name.endswith("embed_tokens.weight") and self.changes_tokens:
            (trained,) = (value for key, value in self._changes.items() if key.endswith(_TOKENS))
            rows = rows.copy()
            for place, token in enumerate(self._config["trainable_token_indices"]):
                if start <= token < start + len(rows):
                    rows[token - start] = trained[place]
        return rows

    def scale(self, rank: int) -> float:
        """s of W + s·B·A for an adapter of this rank; rsLoRA's is over the root (Kalajdzievski 2023)."""
        root = math.sqrt(rank) if self._config.get("use_rslora") else rank
        return float(self._config["lora_alpha"]) / root

    def lora(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """The base's tensors that the adapter changes, each with A (r, in) and B (out, r)."""
        for key, down in self._changes.items():
            if key.endswith(".lora_A.weight"):
                name = key.removeprefix(_ADAPTED).removesuffix(".lora_A.weight")
                yield f"{name}.weight", down, self._changes[key.replace(".lora_A.", ".lora_B.")]


def _tensors(file: Path) -> Iterator[tuple[str, Any]]:
    from safetensors import safe_open

    with safe_open(str(file), "pt") as opened:
        for name in opened.keys():  # noqa: SIM118 (no mapping)
            yield name, opened.get_tensor(name).float().numpy()
