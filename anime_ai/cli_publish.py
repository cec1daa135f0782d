"""`python -m anime_ai publish …`: to the Hub, as a persona's bundle, as a Space. Only words and progress."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anime_ai.cli_shared import Json, OutputDir, give, say
from anime_ai.config import Settings
from anime_ai.errors import PublishError
from anime_ai.texts import text

if TYPE_CHECKING:
    from anime_ai.publishing.bundles import Bundles
    from anime_ai.publishing.folders import Made
    from anime_ai.publishing.hub import Kind

publish_app = typer.Typer(help=text("cli.publish"), no_args_is_help=True)
AdapterDir = Annotated[Path | None, typer.Option("--adapter", help=text("cli.publish.adapter"))]
Repo = Annotated[str, typer.Option("--repo", help=text("cli.publish.repo"))]
Public = Annotated[bool, typer.Option("--public", help=text("cli.publish.public"))]
Out = Annotated[Path | None, typer.Option("--out", help=text("cli.publish.out"))]


@publish_app.command("hub", help=text("cli.publish.hub"))
def publish_hub(
    kind: Annotated[str, typer.Option("--kind", help=text("cli.publish.kind"))] = "adapter",
    repo: Repo = "",
    adapter: AdapterDir = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help=text("cli.publish.dataset"))] = None,
    gguf_type: Annotated[str, typer.Option("--type", help=text("cli.model.type"))] = "q8_0",
    public: Public = False,
    out: Out = None,
    output_dir: OutputDir = None,
    as_json: Json = False,
) -> None:
    settings = Settings.load(output_dir=output_dir, dataset=dataset)
    target = out or settings.output_dir / "published" / kind
    made = _made(kind, adapter, target, gguf_type, settings, as_json)
    sent = _sent(made.folder, repo, "dataset" if kind == "dataset" else "model", public, as_json) if repo else None
    if as_json:
        given = {"folder": str(made.folder), "kind": made.kind, "bytes": made.bytes}
        proof = asdict(made.parity) if made.parity else None
        give({**given, "parity": proof, "sent": sent})


def _made(kind: str, adapter: Path | None, target: Path, gguf_type: str, settings: Settings, quiet: bool) -> Made:
    from anime_ai.cli_shared import read_dataset
    from anime_ai.publishing.folders import KINDS, make, make_dataset
    from anime_ai.publishing.trained import Trained, adapter_of

    if kind == "dataset":
        made = make_dataset(Path(settings.dataset).stem, read_dataset(settings, None, False), target, settings)
    elif kind in KINDS:
        trained = Trained.open(adapter_of(settings, adapter), settings)
        made = make(trained, kind, target, settings, gguf_type, _steps(quiet))
    else:
        raise PublishError("publishing.kind", kind=kind[:20], known="、".join((*KINDS, "dataset")))
    if not quiet:
        print(text("cli.publish.made", folder=made.folder, megabytes=f"{made.bytes / 1e6:.1f}"))
        if made.parity is not None:
            print(text("cli.publish.proved", equal=made.parity.equal, total=made.parity.total))
    return made


def _sent(folder: Path, repo: str, kind: Kind, public: bool, quiet: bool) -> dict[str, Any]:
    from anime_ai.publishing.hub import HubAccount, Repository

    with _bar(quiet) as tell:
        sent = HubAccount().push(folder, Repository(repo, kind, private=not public), tell)
    if not quiet:
        print(text("cli.publish.sent", address=sent.address))
    return asdict(sent)


@publish_app.command("bundle", help=text("cli.publish.bundle"))
def publish_bundle(
    persona: Annotated[str | None, typer.Option("--persona", help=text("cli.publish.persona"))] = None,
    adapter: AdapterDir = None,
    alone: Annotated[bool, typer.Option("--no-adapter", help=text("cli.publish.no_adapter"))] = False,
    take: Annotated[Path | None, typer.Option("--take", help=text("cli.publish.take"))] = None,
    out: Out = None,
    output_dir: OutputDir = None,
    as_json: Json = False,
) -> None:
    settings = Settings.load(output_dir=output_dir)
    with _bundles(settings) as bundles:
        if take is not None:
            _take(bundles, take, as_json)
            return
        file = _packed(bundles, settings, persona, adapter, alone, out)
    if as_json:
        give({"file": str(file), "bytes": file.stat().st_size})
    else:
        print(text("cli.publish.made", folder=file, megabytes=f"{file.stat().st_size / 1e6:.1f}"))


@publish_app.command("space", help=text("cli.publish.space"))
def publish_space(
    repo: Repo = "",
    persona: Annotated[str | None, typer.Option("--persona", help=text("cli.publish.persona"))] = None,
    adapter: AdapterDir = None,
    public: Public = False,
    out: Out = None,
    output_dir: OutputDir = None,
    as_json: Json = False,
) -> None:
    from anime_ai.publishing.checks import check_leaves
    from anime_ai.publishing.proving import prove_adapter
    from anime_ai.publishing.spaces import make_space
    from anime_ai.publishing.trained import Trained, adapter_of

    settings = Settings.load(output_dir=output_dir)
    target = out or settings.output_dir / "published" / "space"
    trained = Trained.open(adapter_of(settings, adapter), settings)
    with _bundles(settings) as bundles:
        hers = bundles.personas.find(persona or trained.persona)
        file = _packed(bundles, settings, hers.id, adapter, False, None)
    prove_adapter(trained, settings)
    size = make_space(hers, file, trained.base.id, target)
    check_leaves(target, settings)
    if not as_json:
        print(text("cli.publish.made", folder=target, megabytes=f"{size / 1e6:.1f}"))
    sent = _sent(target, repo, "space", public, as_json) if repo else None
    if as_json:
        give({"folder": str(target), "bytes": size, "sent": sent})


@publish_app.command("save", help=text("cli.publish.save"))
def publish_save(file: Path, output_dir: OutputDir = None, as_json: Json = False) -> None:
    from anime_ai.publishing.whole import save

    with _bar(as_json) as tell:
        made = save(Settings.load(output_dir=output_dir), file, tell)
    if as_json:
        give({"file": str(made), "bytes": made.stat().st_size})
    else:
        print(text("cli.publish.made", folder=made, megabytes=f"{made.stat().st_size / 1e6:.1f}"))


@publish_app.command("restore", help=text("cli.publish.restore"))
def publish_restore(file: Path, output_dir: OutputDir = None, as_json: Json = False) -> None:
    from anime_ai.publishing.whole import restore

    done = restore(file, Settings.load(output_dir=output_dir), _steps(as_json))
    if as_json:
        give(asdict(done))
    else:
        print(text("cli.publish.restored", files=done.files, runs=done.runs, megabytes=f"{done.bytes / 1e6:.1f}"))


def _packed(
    bundles: Bundles, settings: Settings, persona: str | None, adapter: Path | None, alone: bool, out: Path | None
) -> Path:
    from anime_ai.publishing.bundles import SUFFIX
    from anime_ai.publishing.trained import Trained, adapter_of

    trained = None if alone else Trained.open(adapter_of(settings, adapter), settings)
    hers = bundles.personas.find(persona or (trained.persona if trained else settings.persona))
    bases, characters = bundles.of_persona(hers)
    target = out or settings.output_dir / "published" / f"{hers.id}{SUFFIX}"
    return bundles.pack(hers, target, trained, bases, characters)


def _take(bundles: Bundles, file: Path, as_json: bool) -> None:
    taken = bundles.take(file)
    if taken.left_out:
        say(text(f"notice.{taken.left_out}", base=taken.base))
    if as_json:
        told = {name: getattr(taken, name) for name in ("adapter", "base", "documents", "characters", "again")}
        give({"persona": taken.persona.id, "name": taken.persona.name, **told})
    else:
        counts: dict[str, Any] = {"documents": taken.documents, "characters": taken.characters}
        print(text("cli.publish.taken", name=taken.persona.name, adapter=taken.adapter or "—", **counts))


@contextmanager
def _bundles(settings: Settings) -> Iterator[Bundles]:
    """What packs and takes, opened beside the app."""
    from anime_ai.knowledge.service import Knowledge
    from anime_ai.persona.library import PersonaLibrary
    from anime_ai.publishing.bundles import Bundles
    from anime_ai.storage import Database
    from anime_ai.vision.service import Vision

    with Database.open(settings) as database:
        knowledge = Knowledge(settings, database)
        vision = Vision(settings, database, knowledge.semantic.vectors)
        try:
            yield Bundles(settings, PersonaLibrary(database, settings.studio_dir / "personas"), knowledge, vision)
        finally:
            knowledge.close()


def _steps(quiet: bool) -> Any:
    """Tells every tenth of the way."""
    shown = -1

    def tell(done: int, count: int) -> None:
        nonlocal shown
        if not quiet and done * 10 // max(count, 1) > shown:
            shown = done * 10 // max(count, 1)
            say(f"{done}/{count}")

    return tell


@contextmanager
def _bar(quiet: bool) -> Iterator[Any]:
    """A bar on a terminal, a line every tenth of the way elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield _steps(quiet)
        return
    from tqdm import tqdm

    with tqdm(total=0, file=sys.stderr, unit="B", unit_scale=True) as bar:

        def tell(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield tell
