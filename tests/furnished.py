"""A studio in which somebody has already done something in every tab."""

from __future__ import annotations

import math
import random

from anime_ai.config import AVATARS, DATA, OWNER
from anime_ai.dataset.rows import Row
from anime_ai.studio import Studio
from anime_ai.training import runs
from anime_ai.training.recipe import Recipe

SERIES = DATA / "knowledge" / "series"


def furnish(studio: Studio) -> None:
    """Documents, pictures, a known character, a lorebook, a fact, a key, and a run with its curves."""
    studio.knowledge.import_shipped(SERIES)
    portraits = sorted(AVATARS.glob("*.webp"))
    for file in portraits:
        studio.vision.describe(OWNER, file.name, file)
    studio.vision.enrol(OWNER, "纪棠", [file for file in portraits if file.stem == "tsundere"])
    entries = [{"keys": ["临潮", "海边"], "content": "临潮市在海边，海棠四月开。", "comment": "临潮"}]
    studio.worlds.add({"name": "临潮市", "entries": entries})
    studio.memory.add(OWNER, "傲娇", "用户怕打雷")
    studio.keys.make("手机上的酒馆")
    train(studio)


def train(studio: Studio) -> runs.Run:
    """A finished run whose curves and samples are written by hand: nothing trains."""
    rows = [Row(f"第{number}句", "哼。", "傲娇") for number in range(12)]
    run = studio.runs.submit(rows, Recipe.from_values({}, studio.settings), "傲娇第一次", "内置对话")
    chance = random.Random(7)
    for step in range(1, 61):
        loss = 0.6 + 3 * math.exp(-step / 18) + chance.uniform(-0.12, 0.12)
        told = {
            "step": step,
            "loss": loss,
            "learning_rate": 1e-3 * (1 - step / 60),
            "grad_norm": loss / 2,
            "time": step,
        }
        runs.append_line(run.folder / runs.METRICS, told)
        if step % 10 == 0:
            runs.append_line(run.folder / runs.METRICS, {"step": step, "eval_loss": loss + 0.2})
            runs.append_line(run.folder / runs.SAMPLES, {"step": step, "prompt": "你好", "reply": "哼，你也好。"})
    runs.write_status(run.folder, state="finished", step=60, total=60)
    return run
