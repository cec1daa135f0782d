"""`python -m anime_ai model …`: which base models there are, getting one, and GGUF files for llama.cpp and Ollama.

Only words and progress; the work is the library's.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anime_ai.cli_shared import Json, OutputDir, fetch, find, give, say
from anime_ai.config import Settings
from anime_ai.texts import text

if TYPE_CHECKING:
    from anime_ai.models.bases import Base
    from anime_ai.models.shelf import Held, Shelf

model_app = typer.Typer(help=text("cli.model.group"), no_args_is_help=True)
CHECKED = 8
"""Questions that a converted file is compared by."""
Named = Annotated[str, typer.Argument(metavar="MODEL", help=text("cli.model"))]


@model_app.command("list", help=text("cli.model.list"))
def model_list(output_dir: OutputDir = None, as_json: Json = False) -> None:
    from anime_ai.models.catalogue import KINDS

    settings = Settings.load(output_dir=output_dir)
    held = _shelf(settings).list()
    if as_json:
        give([_told(one, settings) for one in held])
        return
    for kind in KINDS:
        listed = [_told(one, settings) for one in held if one.entry.kind == kind]
        if listed:
            print(text(f"model.kind.{kind}"))
        for told in listed:
            state = text("cli.model.present" if told["present"] else "cli.model.absent")
            size = f"{told['bytes'] / 1e9:.2f} GB" if told["bytes"] else ""
            print(f"  {'✓' if told['present'] else ' '} {told['id']:<56} {size:>8}  {told['licence']:<11} {state}")
            if told["chat_bytes"]:
                sizes = {name: f"{told[name] / 1e9:.1f}" for name in ("chat_bytes", "small_chat_bytes", "train_bytes")}
                print(f"      {text('cli.model.memory', **sizes)}")
            if told["good"]:
                print(f"      {told['good']}")


def _shelf(settings: Settings) -> Shelf:
    from anime_ai.models.shelf import Shelf
    from anime_ai.vision.models import wanted

    return Shelf(settings, wanted)


def _told(held: Held, settings: Settings) -> dict[str, Any]:
    """A model as `model list` tells it; memory in bytes, 0 where it is not known."""
    from anime_ai.models.catalogue import chat_bytes, small_chat_bytes
    from anime_ai.models.device import Device
    from anime_ai.training.estimate import planned_bytes
    from anime_ai.training.recipe import Recipe

    one = held.entry
    told = {"id": one.id, "kind": one.kind, "licence": one.licence, "bytes": held.bytes, "present": held.present}
    told |= {"path": str(held.path or ""), "good": text(one.good) if one.good else ""}
    needs: dict[str, int] = {"chat_bytes": 0, "small_chat_bytes": 0, "train_bytes": 0}
    if one.architecture:
        processor = Device("cpu", "", 24 * 10**9, bf16=True, fp16=False)
        trained = planned_bytes(one.architecture, Recipe.from_values({}, settings), processor)
        needs = {"chat_bytes": chat_bytes(one), "small_chat_bytes": small_chat_bytes(one), "train_bytes": int(trained)}
    return {**told, **needs}


@model_app.command("download", help=text("cli.model.download"))
def model_download(
    model: Named,
    where: Annotated[str, typer.Option("--from", help=text("cli.model.from"))] = "",
    output_dir: OutputDir = None,
    as_json: Json = False,
) -> None:
    from anime_ai.models.bases import STARTER, find_base
    from anime_ai.models.catalogue import DEFAULT, entry

    settings = Settings.load(output_dir=output_dir)
    shelf = _shelf(settings)
    model = DEFAULT if model == "auto" else model
    if model == STARTER or Path(model).expanduser().is_dir():
        base = find_base(model, settings)
        id, path = base.id, base.path
    else:
        id, path = model, shelf.present(entry(model)) or fetch(entry(model), settings, where, quiet=as_json)
        shelf.remember(entry(model))
    if as_json:
        give({"id": id, "path": str(path)})
    else:
        print(text("cli.model.there", name=id, path=path))


@model_app.command("convert", help=text("cli.model.convert"))
def model_convert(
    model: Named,
    out: Annotated[Path, typer.Option("--out", help=text("cli.model.out"))],
    kind: Annotated[str, typer.Option("--type", help=text("cli.model.type"))] = "q8_0",
    adapter: Annotated[Path | None, typer.Option("--adapter", help=text("cli.model.merge"))] = None,
    alone: Annotated[bool, typer.Option("--lora", help=text("cli.model.lora"))] = False,
    check: Annotated[bool, typer.Option(help=text("cli.model.check"))] = True,
    as_json: Json = False,
) -> None:
    from anime_ai.errors import SettingsError
    from anime_ai.models.gguf_files import convert, convert_adapter
    from anime_ai.models.merging import merge

    if alone and adapter is None:
        raise SettingsError("settings.blank", name="--adapter")
    base = find(model, Settings.load())
    shown = -1

    def tell(number: int, count: int) -> None:
        nonlocal shown
        if not as_json and number * 10 // count > shown:
            shown = number * 10 // count
            print(f"{number}/{count}", file=sys.stderr, flush=True)

    if kind == "safetensors" and not alone:
        made = merge(base, out, adapter, tell)
        if as_json:
            give({**asdict(made), "folder": str(made.folder)})
        else:
            print(text("cli.model.converted", file=made.folder, megabytes=f"{made.bytes / 1e6:.1f}"))
        return
    if alone and adapter is not None:
        done = convert_adapter(base, adapter, out, kind, tell)
    else:
        done = convert(base, out, kind, adapter, tell)
    if done.merged:
        say(text(f"notice.{done.merged}"))
    parity = _checked(base, done.file, kind, adapter) if check and (done.merged or not alone) else {}
    if as_json:
        give({**asdict(done), "file": str(done.file), **parity})
        return
    print(text("cli.model.converted", file=done.file, megabytes=f"{done.bytes / 1e6:.1f}"))
    if parity:
        print(text("cli.model.checked", **{**parity, "divergence": f"{parity['divergence']:.4f}"}))


def _checked(base: Base, file: Path, kind: str, adapter: Path | None) -> dict[str, Any]:
    """How many of some questions the file answers as its model does; what differs too much is removed and raised."""
    from anime_ai.config import DATA
    from anime_ai.dataset.files import read_rows
    from anime_ai.models.parity import check_export

    questions = list(dict.fromkeys(row.input for row in read_rows(DATA / "dataset.json").rows))
    parity = check_export(base, file, kind, adapter, questions[:: len(questions) // CHECKED][:CHECKED])
    return {"equal": parity.equal, "total": parity.total, "divergence": parity.divergence}
