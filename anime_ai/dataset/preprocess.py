"""Rows to token ids and labels on disk, the same bytes for the same rows. Knows no model weights.

`processed_data/` holds a `datasets.DatasetDict` (splits `train` and, where there are held-out rows, `test`; columns
`input_ids`, `labels`, `persona`, `row`), the rows it was made from (`rows.json`), and `manifest.json`, which is
written last, so that its existence means that the folder is whole.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from anime_ai.dataset.files import good_rows, read_rows, write_rows
from anime_ai.dataset.rows import Row
from anime_ai.dataset.split import Split, personas_of, split_rows
from anime_ai.errors import DatasetError, PromptError
from anime_ai.files import read_json, replaced_folder, write_json
from anime_ai.persona.cards import Personas
from anime_ai.prompting import Dialogue, Exchange, Layout, TrainingRow

MANIFEST = "manifest.json"
ROWS = "rows.json"


@dataclass(frozen=True)
class Manifest:
    """What a `processed_data` folder was made from and what came out. Rows are counted from 1."""

    dataset: str
    dataset_sha256: str
    tokenizer_sha256: str
    prompt_format: str
    think: str
    layout: str
    max_length: int
    seed: int
    personas: dict[str, int]
    train: int
    held_out: int
    trained_tokens: int
    tokens: int
    shortened: tuple[int, ...]
    too_long: tuple[int, ...]

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        value = read_json(folder / MANIFEST)
        try:
            return cls(**{**value, "shortened": tuple(value["shortened"]), "too_long": tuple(value["too_long"])})
        except (TypeError, KeyError):
            return None


def dialogue_of(row: Row, personas: Personas) -> Dialogue:
    """The prompt slots of a row: the persona's short line as card, her greeting, the row's history and its question.

    Half of the rows stand behind a greeting, as every conversation of the page does, and half do not, as on the command
    line. Which, is drawn from the row's own words, so that it stays where rows are added or moved.
    """
    history = tuple(Exchange(user, reply) for user, reply in row.history)
    greetings = personas.greetings(row.persona)
    drawn = zlib.crc32(f"{row.input}\n{row.output}".encode())
    greeting = greetings[drawn // 2 % len(greetings)] if greetings and drawn % 2 else ""
    card = row.system or personas.system_line(row.persona)
    return Dialogue(card=card, greeting=greeting, history=history, question=row.input)


def rows_sha256(rows: Sequence[Row]) -> str:
    lines = "\n".join(json.dumps(row.as_json(), ensure_ascii=False, sort_keys=True) for row in rows)
    return hashlib.sha256(lines.encode()).hexdigest()


def tokenizer_sha256(tokenizer: Any) -> str:
    """What the tokenizer makes of a text; how it was last told to pad or cut a batch is left out."""
    value = json.loads(tokenizer.backend_tokenizer.to_str())
    value.update(padding=None, truncation=None)
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def encode_rows(
    rows: Sequence[Row], personas: Personas, layout: Layout, max_length: int
) -> tuple[dict[int, TrainingRow], list[int], list[int]]:
    """Rows by position, and the numbers (from 1) of those that were shortened and of those that are too long; drafts
    are left out.

    Raises DatasetError that names the first row which breaks the training contract.
    """
    encoded: dict[int, TrainingRow] = {}
    shortened: list[int] = []
    too_long: list[int] = []
    for place, row in enumerate(rows):
        if row.draft:
            continue
        dialogue = dialogue_of(row, personas)
        try:
            dialogue, done = _fitted(dialogue, row, layout, max_length)
            layout.check(dialogue, row.output, row.inner, done)
        except PromptError as error:
            if error.key == "prompt.row_too_long":
                too_long.append(place + 1)
                continue
            raise DatasetError("dataset.row_breaks_contract", row=place + 1, why=error) from error
        if done.dropped:
            shortened.append(place + 1)
        encoded[place] = done
    return encoded, shortened, too_long


def _fitted(dialogue: Dialogue, row: Row, layout: Layout, max_length: int) -> tuple[Dialogue, TrainingRow]:
    """The tokens of a row; a greeting that leaves too little room for the row's own words is left out."""
    bare = replace(dialogue, greeting="")
    plain = layout.training_row(bare, row.output, row.inner, max_length)
    try:
        greeted = layout.training_row(dialogue, row.output, row.inner, max_length)
    except PromptError:
        return bare, plain
    return (dialogue, greeted) if greeted.dropped == plain.dropped else (bare, plain)


def preprocess(
    rows: Sequence[Row], personas: Personas, layout: Layout, target: Path, *, max_length: int, seed: int, origin: str
) -> Manifest:
    """Encode, check and split `rows` into the folder `target`, which is replaced at once when all is done.

    Raises DatasetError when no row is left to train on, StorageError when the folder cannot be written.
    """
    if not rows:
        raise DatasetError("dataset.empty", path=origin)
    if all(row.draft for row in rows):
        raise DatasetError("dataset.only_drafts", rows=len(rows))
    encoded, shortened, too_long = encode_rows(rows, personas, layout, max_length)
    split = split_rows(rows, seed)
    if not any(place in encoded for place in split.train):
        raise DatasetError("dataset.all_too_long", rows=len(too_long), most=max_length)
    manifest = Manifest(
        dataset=origin,
        dataset_sha256=rows_sha256(rows),
        tokenizer_sha256=tokenizer_sha256(layout.tokenizer),
        prompt_format=layout.format,
        think=layout.think,
        layout=layout.fingerprint(),
        max_length=max_length,
        seed=seed,
        personas={name: sum(row.persona == name and not row.draft for row in rows) for name in personas_of(rows)},
        train=sum(place in encoded for place in split.train),
        held_out=sum(place in encoded for place in split.held_out),
        trained_tokens=sum(row.trained for row in encoded.values()),
        tokens=sum(len(row.ids) for row in encoded.values()),
        shortened=tuple(shortened),
        too_long=tuple(too_long),
    )
    with replaced_folder(target) as folder:
        _save(folder, rows, encoded, split)
        write_json(folder / MANIFEST, asdict(manifest))
    return manifest


def _save(folder: Path, rows: Sequence[Row], encoded: dict[int, TrainingRow], split: Split) -> None:
    import datasets

    features = datasets.Features(
        {
            "input_ids": datasets.Sequence(datasets.Value("int32")),
            "labels": datasets.Sequence(datasets.Value("int32")),
            "persona": datasets.Value("string"),
            "row": datasets.Value("int32"),
        }
    )
    parts = {}
    for name, places in (("train", split.train), ("test", split.held_out)):
        kept = [place for place in places if place in encoded]
        if not kept and name == "test":
            continue
        columns = {
            "input_ids": [list(encoded[place].ids) for place in kept],
            "labels": [list(encoded[place].labels) for place in kept],
            "persona": [rows[place].persona for place in kept],
            "row": [place + 1 for place in kept],
        }
        parts[name] = datasets.Dataset.from_dict(columns, features=features)
    hidden = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        datasets.DatasetDict(parts).save_to_disk(str(folder))
    finally:
        if not hidden:
            datasets.enable_progress_bars()
    write_rows(folder / ROWS, rows)


def stored_rows(folder: Path) -> tuple[Row, ...]:
    """The rows that a `processed_data` folder was made from. Raises DatasetError."""
    path = folder / ROWS
    return good_rows(read_rows(path), path)
