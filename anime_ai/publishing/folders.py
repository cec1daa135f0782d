"""Folders that hold what is published, as it will stand on the hub: an adapter, a dataset, a merged model, a GGUF.

Every one is made beside and takes its place when it is whole. Nothing leaves from here. Knows no hub.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anime_ai.config import Settings
from anime_ai.dataset.export import export
from anime_ai.dataset.rows import Row
from anime_ai.errors import PublishError
from anime_ai.files import read_json, replaced_folder, write_bytes, write_json
from anime_ai.models.adapters import CARD, WEIGHTS
from anime_ai.models.gguf_files import Tell, convert
from anime_ai.models.merging import merge
from anime_ai.models.parity import Parity
from anime_ai.prompting import Layout
from anime_ai.publishing.checks import check_leaves
from anime_ai.publishing.model_cards import PLOT, dataset_page, model_page
from anime_ai.publishing.ollama import modelfile
from anime_ai.publishing.plot import loss_plot
from anime_ai.publishing.proving import prove
from anime_ai.publishing.trained import Trained, hub_id

ADAPTER, MERGED, GGUF = "adapter", "merged", "gguf"
KINDS = (ADAPTER, MERGED, GGUF)
CONFIG, SCORES, SAMPLES = "adapter_config.json", "scores.json", "samples.jsonl"
MODELFILE, MODEL = "Modelfile", "model.gguf"
MOST_CONTEXT = 4096


@dataclass(frozen=True)
class Made:
    """A folder that can be published. `parity`: how its answers were held against the trained adapter's."""

    folder: Path
    kind: str
    bytes: int
    parity: Parity | None = None


def make(
    trained: Trained, kind: str, target: Path, settings: Settings, gguf_type: str = "q8_0", tell: Tell | None = None
) -> Made:
    """One of KINDS as the folder `target`, proved to answer as the adapter does. Raises AnimeAIError."""
    if kind not in KINDS:
        raise PublishError("publishing.kind", kind=kind[:20], known="、".join(KINDS))
    with replaced_folder(target) as folder:
        if kind == ADAPTER:
            write_adapter(trained, folder)
            proof = prove(trained, "adapter", folder, settings, tell)
        elif kind == MERGED:
            merge(trained.base, folder / "model", trained.adapter, tell)
            for file in sorted((folder / "model").iterdir()):
                file.replace(folder / file.name)
            (folder / "model").rmdir()
            proof = prove(trained, "bf16", folder, settings, tell)
        else:
            convert(trained.base, folder / MODEL, gguf_type, trained.adapter, tell)
            layout = Layout(_tokenizer(trained), *trained.layout)
            context = min(trained.base.context(), MOST_CONTEXT)
            write_bytes(folder / MODELFILE, modelfile(layout, MODEL, trained.card, context).encode())
            proof = prove(trained, gguf_type, folder / MODEL, settings, tell)
        _describe(trained, kind, folder)
        check_leaves(folder, settings, beside=(trained.base.path, trained.adapter))
    return Made(target, kind, size_of(target), proof)


def make_dataset(name: str, rows: Sequence[Row], target: Path, settings: Settings, licence: str = "other") -> Made:
    """Rows as `data.jsonl` with their page. Raises DatasetError where there is none."""
    given = [row for row in rows if not row.draft]
    content = export(given, "jsonl").content
    with replaced_folder(target) as folder:
        write_bytes(folder / "data.jsonl", content)
        write_bytes(folder / "README.md", dataset_page(name, given, licence).encode())
        check_leaves(folder, settings)
    return Made(target, "dataset", size_of(target))


def write_adapter(trained: Trained, folder: Path) -> None:
    """The adapter's own files: weights, PEFT's configuration without a path of this machine, its notes."""
    shutil.copyfile(trained.adapter / WEIGHTS, folder / WEIGHTS)
    config = read_json(trained.adapter / CONFIG) or {}
    named = hub_id(trained.base) or trained.base.id
    write_json(folder / CONFIG, {**config, "base_model_name_or_path": named})
    write_json(folder / CARD, {**trained.notes, "base": named})


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _describe(trained: Trained, kind: str, folder: Path) -> None:
    """The page, and what it shows."""
    curves = trained.curves()
    if curves:
        write_bytes(folder / PLOT, loss_plot(curves))
    if scores := trained.scores():
        write_json(folder / SCORES, scores)
    if samples := trained.samples():
        lines = [{"prompt": asked, "before": before, "reply": said} for asked, before, said in samples]
        content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_bytes(folder / SAMPLES, content.encode())
    if kind != ADAPTER:
        write_json(folder / CARD, {**trained.notes, "base": hub_id(trained.base) or trained.base.id})
    write_bytes(folder / "README.md", model_page(trained, kind, bool(curves)).encode())


def _tokenizer(trained: Trained) -> object:
    from anime_ai.models.transformers_engine import load_tokenizer

    return load_tokenizer(trained.base)
