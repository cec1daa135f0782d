"""`python -m anime_ai persona …`: cards and world books in, cards out. Only words; the work is the library's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anime_ai.cli_shared import Json, OutputDir, give, say
from anime_ai.config import Settings
from anime_ai.texts import text

if TYPE_CHECKING:
    from anime_ai.persona.library import PersonaLibrary
    from anime_ai.persona.world_books import WorldBooks

persona_app = typer.Typer(help=text("cli.persona.group"), no_args_is_help=True)


@contextmanager
def _library(output_dir: Path | None) -> Iterator[tuple[PersonaLibrary, WorldBooks]]:
    from anime_ai.persona.library import PersonaLibrary
    from anime_ai.persona.world_books import WorldBooks
    from anime_ai.storage import Database

    settings = Settings.load(output_dir=output_dir)
    with Database.open(settings) as database:
        yield PersonaLibrary(database, settings.studio_dir / "personas"), WorldBooks(database)


@persona_app.command("import", help=text("cli.persona.import"))
def persona_import(files: list[Path], output_dir: OutputDir = None, as_json: Json = False) -> None:
    from anime_ai.errors import AnimeAIError, PersonaError
    from anime_ai.persona.files import MOST_FILE, read

    done, failed = [], False
    with _library(output_dir) as (library, worlds):
        for file in files:
            try:
                if file.stat().st_size > MOST_FILE:
                    size = file.stat().st_size // 2**20
                    raise PersonaError("persona.too_large", size=size, most=MOST_FILE // 2**20)
                found = read(file.read_bytes())
                if found.card is None:
                    assert found.world is not None
                    named, value = worlds.add(found.world, file.stem).name, dict(found.world)
                elif same := library.same(found.card):
                    named, value = "", dict(found.card.value)
                    say(text("ui.persona.same", file=file.name, name=same.name))
                else:
                    named, value = library.add(found, file.name).name, dict(found.card.value)
            except (AnimeAIError, OSError) as error:
                why = error.strerror if isinstance(error, OSError) else error.say()
                say(f"{file}: {why}")
                failed = True
                continue
            done.append(value)
            for mend in found.mends:
                say(f"  {mend.say()}")
            if named and not as_json:
                print(text("ui.persona.imported", name=named))
    if as_json and done:
        give(done[0] if len(files) == 1 else done)
    if failed:
        raise typer.Exit(1)


@persona_app.command("export", help=text("cli.persona.export"))
def persona_export(
    persona: str,
    form: Annotated[str, typer.Option("--form", help=text("cli.persona.form"))] = "",
    out: Annotated[Path | None, typer.Option("--out", help=text("cli.persona.out"))] = None,
    output_dir: OutputDir = None,
) -> None:
    from anime_ai.files import write_bytes

    form = (form or (out.suffix if out else "") or "png").lstrip(".").lower()
    with _library(output_dir) as (library, _):
        found = library.find(persona)
        content = library.export(found.id, form)
    # Her name is data: where nothing was said the file is called by her id.
    target = out or Path(f"{found.id}.{form}")
    write_bytes(target, content)
    print(text("cli.persona.exported", name=found.name, file=target))


@persona_app.command("show", help=text("cli.persona.show"))
def persona_show(
    persona: Annotated[str, typer.Argument(help=text("cli.persona"))] = "",
    output_dir: OutputDir = None,
    as_json: Json = False,
) -> None:
    with _library(output_dir) as (library, _):
        shown = [library.find(persona)] if persona else library.list()
    cards = [one.card.value for one in shown if one.card is not None]
    if as_json:
        give(cards[0] if persona else cards)
        return
    for one in shown:
        entries = len((one.card.book or {}).get("entries") or ()) if one.card else 0
        about = text("cli.persona.line", greetings=len(one.said_first), entries=entries)
        print(f"{one.name}  {one.character}  {about}")
        if persona:
            print("\n".join(part.text for part in one.parts()))
