"""Who is in a picture, as a vector: what of a tower's features stays when expression, clothes and place change.

A folder that holds `identity.safetensors` brings a linear projection that was learned on drawn characters
(`anime_ai/starter/identity.py`), and the cosines that it was measured to need. Knows no gallery.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anime_ai.errors import VisionError
from anime_ai.vision.clip import Vectors, unit

IDENTITY = "identity.safetensors"


@dataclass(frozen=True)
class Identity:
    """`mean` (features,) and `projection` (features, dimensions); `likeness` is (perhaps, surely)."""

    mean: NDArray[np.float32]
    projection: NDArray[np.float32]
    likeness: tuple[float, float]

    @classmethod
    def of(cls, folder: Path) -> Identity:
        """Raises VisionError for a file that is broken."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(folder / IDENTITY), "numpy") as file:
                told = file.metadata() or {}
                mean, projection = (np.asarray(file.get_tensor(name), np.float32) for name in ("mean", "projection"))
                return cls(mean, projection, (float(told["perhaps"]), float(told["surely"])))
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise VisionError("vision.no_model", name=IDENTITY, why=error) from error

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        told = dict(zip(("perhaps", "surely"), map(str, self.likeness), strict=True))
        values = {"mean": self.mean.astype(np.float16), "projection": self.projection.astype(np.float16)}
        save_file(values, folder / IDENTITY, told)

    def __call__(self, features: NDArray[np.float32]) -> Vectors:
        """Unit vectors, (pictures, dimensions), out of (pictures, features)."""
        return unit((features - self.mean) @ self.projection)
