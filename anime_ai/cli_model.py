"""`python -m anime_ai model …`: which base models there are, getting one, and GGUF files for llama.cpp and Ollama.

Only words and progress; the work is the library's.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from anime_ai.cli_shared import Json, find, give, say
from anime_ai.config import Settings
from anime_ai.texts import text

model_app = typer.Typer(help=text("cli.model.group"), no_args_is_help=True)
Named = Annotated[str, typer.Argument(metavar="MODEL", help=text("cli.model"))]


@model_app.command("list", help=text("cli.model.list"))
def model_list(as_json: Json = False) -> None:
    from anime_ai.models.bases import KNOWN, STARTER, on_disk

    found = [{"id": name, "present": on_disk(name)} for name in (STARTER, *KNOWN)]
    if as_json:
        give(found)
        return
    for one in found:
        print(f"{one['id']}\t{text('cli.model.present' if one['present'] else 'cli.model.absent')}")


@model_app.command("download", help=text("cli.model.download"))
def model_download(model: Named, as_json: Json = False) -> None:
    base = find(model, Settings.load())
    if as_json:
        give({"id": base.id, "path": str(base.path)})
    else:
        print(text("cli.model.there", name=base.id, path=base.path))


@model_app.command("convert", help=text("cli.model.convert"))
def model_convert(
    model: Named,
    out: Annotated[Path, typer.Option("--out", help=text("cli.model.out"))],
    kind: Annotated[str, typer.Option("--type", help=text("cli.model.type"))] = "q8_0",
    adapter: Annotated[Path | None, typer.Option("--adapter", help=text("cli.model.merge"))] = None,
    alone: Annotated[bool, typer.Option("--lora", help=text("cli.model.lora"))] = False,
    as_json: Json = False,
) -> None:
    from anime_ai.errors import SettingsError
    from anime_ai.models.gguf_files import convert, convert_adapter

    if alone and adapter is None:
        raise SettingsError("settings.blank", name="--adapter")
    base = find(model, Settings.load())
    shown = -1

    def tell(number: int, count: int) -> None:
        nonlocal shown
        if not as_json and number * 10 // count > shown:
            shown = number * 10 // count
            print(f"{number}/{count}", file=sys.stderr, flush=True)

    if alone and adapter is not None:
        done = convert_adapter(base, adapter, out, kind, tell)
    else:
        done = convert(base, out, kind, adapter, tell)
    if done.merged:
        say(text(f"notice.{done.merged}"))
    if as_json:
        give({**asdict(done), "file": str(done.file)})
    else:
        print(text("cli.model.converted", file=done.file, megabytes=f"{done.bytes / 1e6:.1f}"))
