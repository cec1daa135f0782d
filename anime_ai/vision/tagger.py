"""WD taggers (SmilingWolf's, v3) on onnxruntime: an anime picture to Danbooru's tags. Knows no words for them.

A folder holds `model.onnx` and `selected_tags.csv`, as on the Hub.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anime_ai.errors import VisionError

if TYPE_CHECKING:
    from PIL import Image

MODEL, TABLE = "model.onnx", "selected_tags.csv"
GENERAL, CHARACTER, RATING = "0", "4", "9"
"""Categories of the table."""
LEAST, LEAST_CHARACTER = 0.35, 0.85
"""The thresholds of the model's card."""


@dataclass(frozen=True)
class Tagged:
    """Tags and characters above their thresholds with their probabilities, the likeliest first, and the rating."""

    tags: dict[str, float]
    characters: dict[str, float]
    rating: str


class Tagger:
    """A tagger of a folder, loaded at the first picture. `id` names it."""

    def __init__(self, folder: Path, id: str) -> None:
        self.folder, self.id = folder, id

    def look(self, pictures: Sequence[Image.Image]) -> list[Tagged]:
        """Raises VisionError where the model cannot be loaded or does not fit its table."""
        return [self._told(self.scores(picture)) for picture in pictures]

    def scores(self, picture: Image.Image) -> NDArray[np.float32]:
        """The probability of every one of `names`."""
        session = self._session
        (given,) = session.get_inputs()
        size = int(given.shape[1])
        # One at a time: on a CPU a batch is no faster, and some releases take single pictures alone.
        (found,) = session.run(None, {given.name: prepared(picture, size)[None]})
        scores = np.asarray(found[0], np.float32)
        if len(scores) != len(self.names):
            raise VisionError("vision.no_model", name=self.id, why=f"{len(scores)} ≠ {len(self.names)} ({TABLE})")
        return scores

    def _told(self, scores: NDArray[np.float32]) -> Tagged:
        names, kinds = self.names, self._kinds

        def over(kind: str, least: float) -> dict[str, float]:
            places = [place for place in np.argsort(-scores) if kinds[place] == kind and scores[place] >= least]
            return {names[place]: float(scores[place]) for place in places}

        ratings = [place for place in range(len(names)) if kinds[place] == RATING]
        rating = names[max(ratings, key=lambda place: scores[place])] if ratings else ""
        return Tagged(over(GENERAL, LEAST), over(CHARACTER, LEAST_CHARACTER), rating)

    @cached_property
    def _table(self) -> list[dict[str, str]]:
        try:
            with open(self.folder / TABLE, encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            _ = [(row["name"], row["category"]) for row in rows]
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise VisionError("vision.no_model", name=self.id, why=error) from error
        return rows

    @property
    def names(self) -> list[str]:
        """All that it can say: tags, characters and ratings."""
        return [row["name"] for row in self._table]

    @property
    def _kinds(self) -> list[str]:
        return [row["category"] for row in self._table]

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        from anime_ai.processes import usable_cpus

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cpus()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the page wants the cores too
        try:
            return onnxruntime.InferenceSession(
                str(self.folder / MODEL), options, providers=onnxruntime.get_available_providers()
            )
        except Exception as error:  # its errors share no class of their own
            raise VisionError("vision.no_model", name=self.id, why=str(error).split("\n")[0][:200]) from error


def prepared(picture: Image.Image, size: int) -> NDArray[np.float32]:
    """(size, size, 3), 0 to 255, blue before green before red: the picture in the middle of a white square."""
    from PIL import Image

    side = max(picture.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC), np.float32)[:, :, ::-1].copy()
