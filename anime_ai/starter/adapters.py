"""The ready persona adapters on the starter model, made by the project's own trainer. Knows no grammar.

python -m anime_ai.starter --only adapters
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from anime_ai.config import ASSETS, DATA, Settings
from anime_ai.dataset.files import good_rows, read_rows
from anime_ai.errors import TrainingError
from anime_ai.files import replaced_folder
from anime_ai.models.bases import STARTER
from anime_ai.persona.cards import Personas
from anime_ai.training import runs
from anime_ai.training.queue import wait
from anime_ai.training.recipe import Recipe

ADAPTERS = ASSETS / "starter" / "adapters"
RECIPE: dict[str, object] = {
    **{"epochs": 1, "batch_size": 2, "learning_rate": 1.5e-3, "train_tokens": "off"},
    **{"layers": 4, "lora_r": 12, "lora_alpha": 24},
}
"""What differs from the default recipe: with the line of a card that asks for it the starter speaks in her voice
already, and one light pass is enough that she does so without. With more passes she recites the rows. The
later layers stay the base's, which has learned to say whole sentences with far more words than her rows have."""
OWN: dict[str, dict[str, object]] = {
    "tsundere": {"learning_rate": 2e-3, "batch_size": 3, "layers": 3, "lora_r": 6, "lora_alpha": 12},
    "kuudere": {"epochs": 3, "batch_size": 4, "learning_rate": 2e-3},
}
"""And what differs again for her who has the most rows, and for her who has the fewest: by the figures of `report`."""
WEIGHTS = "adapter_model.safetensors"
KEPT = ("adapter_config.json", WEIGHTS, "anime_ai.json", "README.md")
"""The base's own folder has the tokenizer."""


def make(say: Callable[[str], None], target: Path = ADAPTERS) -> None:
    """Train each persona of `data/` by RECIPE; the old adapters are replaced when all are there.

    Raises what the first run that fails raised.
    """
    path = DATA / "dataset.json"
    rows = good_rows(read_rows(path), path)
    with replaced_folder(target) as folder, tempfile.TemporaryDirectory() as scratch:
        for persona in Personas().list():
            run = Path(scratch) / persona.id
            recipe = Recipe.from_values(
                {"base": STARTER, "persona": persona.name, **RECIPE, **OWN.get(persona.id, {})}, Settings.load()
            )
            runs.create(run, recipe, run_id=persona.id, name=persona.name, dataset=path.name, rows=rows)
            runs.launch(run, Path(scratch) / "accelerator.lock")
            done = wait(run)
            if done.adapter is None:
                told = done.error or {"key": "training.crashed", "values": {"why": done.state}}
                raise TrainingError(told["key"], **told["values"])
            (folder / persona.id).mkdir()
            for name in KEPT:
                shutil.copyfile(done.adapter / name, folder / persona.id / name)
            _halve(folder / persona.id / WEIGHTS)
            last = [line["eval_loss"] for line in runs.metrics(run) if "eval_loss" in line][-1:]
            say(f"{persona.name}: {done.step} steps, held-out loss {last}")


def _halve(path: Path) -> None:
    """Training keeps fp32 to go on from; to answer, bf16 is as good, as the base beneath has no more."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(str(path), "pt") as file:
        told = file.metadata()
    weights = {name: weight.bfloat16() for name, weight in load_file(path).items()}
    save_file(weights, path, told)
