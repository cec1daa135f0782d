"""The command line: `python -m anime_ai COMMAND`. Only words and progress; the work is the library's.

With `--json` stdout holds one JSON value and nothing else. Exit status 0: done; 1: failed, with one line on stderr that
says what to do; 2: wrong usage.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anime_ai.cli_dataset import dataset_app
from anime_ai.cli_model import model_app
from anime_ai.cli_persona import persona_app
from anime_ai.cli_publish import publish_app
from anime_ai.cli_shared import Json, OutputDir, find, give, personas_of, read_dataset, say
from anime_ai.config import Settings
from anime_ai.errors import AnimeAIError, SettingsError, TrainingError
from anime_ai.models.device import let_threads_sleep
from anime_ai.texts import process_language, text

if TYPE_CHECKING:
    from anime_ai.dataset.preprocess import Manifest
    from anime_ai.training.runs import Run

app = typer.Typer(help="Anime AI Studio", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
SAMPLE = ("你喜欢什么动漫？", "可以帮我写作业吗？")
"""The original project's sample conversation."""
RULER = "=" * 30


def main() -> int:
    """Run the command line; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # Pipes of a GBK or ASCII locale would otherwise die on the first Chinese or English word they lack.
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    let_threads_sleep()
    # Deprecations inside the libraries are no news for who uses this.
    warnings.simplefilter("ignore", FutureWarning)
    try:
        app()
    except AnimeAIError as error:
        say(error.say())
        return 1
    return 0


@app.command(help=text("cli.preprocess"))
def preprocess(
    dataset: Annotated[str | None, typer.Option(help=text("cli.dataset"))] = None,
    output_dir: OutputDir = None,
    model: Annotated[str | None, typer.Option(help=text("cli.model"))] = None,
    encoding: Annotated[str | None, typer.Option(help=text("cli.encoding"))] = None,
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help=text("cli.skip_bad_rows"))] = False,
    as_json: Json = False,
) -> None:
    settings = Settings.load(output_dir=output_dir, model_name=model, dataset=dataset)
    manifest = _preprocess(settings, encoding, skip_bad_rows)
    if as_json:
        give(asdict(manifest))
        return
    folder = settings.output_dir / "processed_data"
    counts: dict[str, Any] = {"train": manifest.train, "held_out": manifest.held_out, "tokens": manifest.tokens}
    print(text("cli.preprocessed", folder=folder, trained=manifest.trained_tokens, **counts))
    if manifest.shortened:
        print(text("cli.shortened", count=len(manifest.shortened), most=manifest.max_length))
    if manifest.too_long:
        print(text("cli.too_long", rows=_numbers(manifest.too_long), most=manifest.max_length))


def _preprocess(settings: Settings, encoding: str | None = None, skip_bad: bool = False) -> Manifest:
    from anime_ai.dataset.preprocess import preprocess as encode
    from anime_ai.files import check_writable
    from anime_ai.prompting import Layout

    rows = read_dataset(settings, encoding, skip_bad)
    check_writable(settings.output_dir)
    base = find(settings.model_name, settings)
    from anime_ai.models.transformers_engine import load_tokenizer

    layout = Layout(load_tokenizer(base), settings.prompt_format, settings.think)
    limits = {"max_length": settings.max_length, "seed": settings.seed}
    target = settings.output_dir / "processed_data"
    personas = personas_of(settings)
    personas.keep(settings.output_dir, {row.persona for row in rows})
    return encode(rows, personas, layout, target, origin=Path(settings.dataset).name, **limits)


@app.command(help=text("cli.train"))
def train(
    output_dir: OutputDir = None,
    dataset: Annotated[str | None, typer.Option(help=text("cli.dataset"))] = None,
    model: Annotated[str | None, typer.Option(help=text("cli.model"))] = None,
    persona: Annotated[str | None, typer.Option(help=text("cli.persona"))] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help=text("cli.set"))] = None,
    resume: Annotated[bool, typer.Option("--resume", help=text("cli.resume"))] = False,
    as_json: Json = False,
) -> None:
    from anime_ai.dataset.preprocess import Manifest
    from anime_ai.files import check_writable
    from anime_ai.training import runs
    from anime_ai.training.queue import accelerator_lock
    from anime_ai.training.recipe import Recipe

    settings = Settings.load(output_dir=output_dir, model_name=model, dataset=dataset)
    folder = settings.output_dir
    check_writable(folder)
    named = _assignments(set_ or [])
    if persona is not None:
        named["persona"] = _persona_name(personas_of(settings), persona)
    if model:
        named["base"] = model
    if resume:
        _check_same(folder, named, dataset, settings)
        if runs.read_run(folder).active:
            raise TrainingError("training.busy", path=folder)
        if runs.last_checkpoint(folder) is None:
            raise TrainingError("training.nothing_to_resume", path=folder)
    else:
        recipe = Recipe.from_values(named, settings)
        # Before anything of the folder is replaced: all that can be wrong by what was typed.
        if (folder / runs.STATUS).exists() and runs.read_run(folder).active:
            raise TrainingError("training.busy", path=folder)
        find(recipe.base, settings).need_weights()
        if dataset is not None or Manifest.read(folder / runs.DATA) is None:
            _preprocess(settings)
        manifest = Manifest.read(folder / runs.DATA)
        if manifest is not None and not manifest.personas.get(recipe.persona):
            known = "、".join(name for name in manifest.personas if name) or "-"
            raise TrainingError("dataset.no_persona_rows", persona=recipe.persona, known=known)
        origin = manifest.dataset if manifest else ""
        runs.create(folder, recipe, run_id="cli", name=recipe.persona, dataset=origin, rows=None)
    runs.launch(folder, accelerator_lock(settings), resume, runs.surroundings(settings))
    run = _follow(folder, quiet=as_json)
    if as_json:
        give({"state": run.state, "step": run.step, "total": run.total, "final_model": str(run.adapter or "")})
    elif run.adapter is not None:
        print(text("cli.trained", folder=run.adapter, step=run.step, total=run.total))


def _check_same(folder: Path, named: dict[str, Any], dataset: str | None, settings: Settings) -> None:
    """Raise SettingsError where a run that is to go on began with other settings than those that are `named` now."""
    from anime_ai.files import read_json
    from anime_ai.training import runs
    from anime_ai.training.recipe import Recipe

    config = read_json(folder / runs.CONFIG)
    began = config.get("recipe") if isinstance(config, dict) else None
    if not isinstance(began, dict):
        return  # that there is no run is said where it is looked for
    then, now = (asdict(Recipe.from_values(values, settings)) for values in (began, {**began, **named}))
    other = next((name for name in then if then[name] != now[name]), "--dataset" if dataset else "")
    if other:
        raise SettingsError("settings.contradiction", name="--resume", other=other)


def _persona_name(personas: Any, name: str) -> str:
    """The dataset's name of a persona that was named by id or by her own name; a name of the user's own stays."""
    for persona in personas.list():
        if name in (persona.id, persona.character):
            return persona.name
    return name


def _assignments(pairs: list[str]) -> dict[str, str]:
    values = {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not found:
            raise SettingsError("settings.not_an_assignment", given=pair)
        values[name.strip()] = value.strip()
    return values


def _follow(folder: Path, quiet: bool) -> Run:
    """Show a run's progress until it ends. Ctrl-C asks it to save and end; a second one leaves it running."""
    from anime_ai.training import runs

    stopping = False
    with _progress(quiet) as tell:
        while True:
            try:
                run = runs.read_run(folder)
                lines = runs.metrics(folder) if not quiet else []
                tell(run, lines)
                if not run.active:
                    break
                time.sleep(0.3)
            except KeyboardInterrupt:
                if stopping:
                    raise
                stopping = True
                runs.request_stop(folder)
                say(text("cli.stopping"))
    if run.state == "failed" and run.error:
        raise TrainingError(str(run.error["key"]), **run.error["values"])
    if run.state == "interrupted":
        raise TrainingError("training.interrupted", step=run.step)
    for notice in run.notices:
        say(text(f"notice.{notice['key']}", **notice["values"]))
    return run


class _progress:
    """A progress bar on a terminal, a line every tenth of the way elsewhere, nothing when quiet."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.bar: Any = None
        self.told = -1

    def __enter__(self) -> Any:
        return self.tell

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def tell(self, run: Run, lines: list[dict[str, Any]]) -> None:
        if self.quiet or not run.total:
            return
        losses = {key: line[key] for line in lines for key in ("loss", "eval_loss") if key in line}
        figures = " ".join(f"{key} {value:.3f}" for key, value in losses.items())
        if sys.stderr.isatty():
            if self.bar is None:
                from tqdm import tqdm

                self.bar = tqdm(total=run.total, file=sys.stderr, unit="step")
            self.bar.update(run.step - self.bar.n)
            self.bar.set_postfix_str(figures)
        elif run.step * 10 // run.total > self.told:
            self.told = run.step * 10 // run.total
            say(f"{run.step}/{run.total} {figures}")


@app.command(help=text("cli.infer"))
def infer(
    prompt: Annotated[list[str] | None, typer.Option(help=text("cli.prompt"))] = None,
    persona: Annotated[str | None, typer.Option(help=text("cli.persona"))] = None,
    model: Annotated[str | None, typer.Option(help=text("cli.model"))] = None,
    adapter: Annotated[Path | None, typer.Option(help=text("cli.adapter"))] = None,
    output_dir: OutputDir = None,
    as_json: Json = False,
) -> None:
    from dataclasses import replace

    from anime_ai.chat.answers import Speaker
    from anime_ai.models.engine import GREEDY, Sampling

    if any(not question.strip() for question in prompt or ()):
        raise AnimeAIError("chat.blank")
    settings = Settings.load(output_dir=output_dir, model_name=model)
    own = settings.output_dir / "final_model"
    folder = adapter or (own if own.is_dir() else None)
    known = personas_of(settings)
    name = _persona_name(known, persona) if persona else None
    speaker = Speaker.open(settings, folder, persona=name, base_named=model is not None, personas=known)
    # The sample conversation is greedy, so that a trained answer comes back word for word.
    sampling = replace(GREEDY, max_new_tokens=256) if not prompt else Sampling(seed=settings.seed)
    answers = []
    for question in prompt or SAMPLE:
        answer = speaker.answer(question, sampling)
        answers.append(asdict(answer))
        if not as_json:
            print(f"用户：{question}\nAI：{answer.reply}\n{RULER}", flush=True)
    if as_json:
        give(answers)
    elif speaker.base.starter:
        say(text("chat.starter_notice"))


@app.command(help=text("cli.evaluate"))
def evaluate(output_dir: OutputDir = None, as_json: Json = False) -> None:
    from anime_ai.training.evaluation import evaluate_run

    settings = Settings.load(output_dir=output_dir)
    report = evaluate_run(settings.output_dir, settings, tell=lambda line: None if as_json else say(line))
    if as_json:
        give({name: asdict(figure) for name, figure in report.items()})
        return
    rows = [(text(f"metric.{name}"), figure) for name, figure in report.items()]
    print(f"{text('cli.metric')}\t{text('cli.base')}\t{text('cli.adapter_column')}\t{text('cli.interval')}")
    for label, figure in rows:
        print(f"{label}\t{figure.base:.3f}\t{figure.adapter:.3f}\t[{figure.low:.3f}, {figure.high:.3f}]")


app.add_typer(dataset_app, name="dataset")
app.add_typer(model_app, name="model")
app.add_typer(persona_app, name="persona")
app.add_typer(publish_app, name="publish")

image_app = typer.Typer(help=text("cli.image"), no_args_is_help=True)
app.add_typer(image_app, name="image")


@contextmanager
def _vision(output_dir: Path | None) -> Iterator[Any]:
    """What looks, opened beside the app. Where the app runs, it holds the vectors, and nobody is recognised here."""
    from anime_ai.knowledge.vectors import VectorStore
    from anime_ai.storage import Database
    from anime_ai.vision.service import Vision

    settings = Settings.load(output_dir=output_dir)
    vectors = VectorStore.of(settings)
    with Database.open(settings) as database:
        try:
            yield Vision(settings, database, vectors)
        finally:
            vectors.close()


@image_app.command("describe", help=text("cli.image.describe"))
def image_describe(
    file: Path,
    model: Annotated[str | None, typer.Option("--model", help=text("cli.image.model"))] = None,
    output_dir: OutputDir = None,
    as_json: Json = False,
) -> None:
    from anime_ai.config import OWNER
    from anime_ai.vision.pictures import read_picture

    picture = read_picture(file)
    with _vision(output_dir) as vision:
        if model:
            vision.fetch(model, lambda: say(text("cli.image.fetching", name=model)))
        (seen,) = vision.look([picture], [model] if model else None, OWNER)
    if as_json:
        give(seen.as_json())
    else:
        print(seen.sentence(process_language()))


@image_app.command("enroll", help=text("cli.image.enroll"))
def image_enroll(
    files: list[Path],
    name: Annotated[str, typer.Option("--name", help=text("cli.image.name"))],
    output_dir: OutputDir = None,
    as_json: Json = False,
) -> None:
    from anime_ai.config import OWNER

    with _vision(output_dir) as vision:
        known = vision.enrol(OWNER, name, files)
    if as_json:
        give(asdict(known))
    else:
        print(text("cli.image.enrolled", name=known.name, count=known.pictures))


knowledge_app = typer.Typer(help=text("cli.knowledge"), no_args_is_help=True)
app.add_typer(knowledge_app, name="knowledge")
BaseName = Annotated[str | None, typer.Option("--base", help=text("cli.knowledge.base"))]


@contextmanager
def _knowledge(output_dir: Path | None) -> Iterator[Any]:
    """What the app knows, opened beside it; what ships is in it from the first time on."""
    from anime_ai.config import DATA
    from anime_ai.knowledge.service import Knowledge
    from anime_ai.storage import Database

    settings = Settings.load(output_dir=output_dir)
    with Database.open(settings) as database:
        knowledge = Knowledge(settings, database)
        knowledge.import_shipped(DATA / "knowledge" / "series")
        try:
            yield knowledge
        finally:
            knowledge.close()


def _base_id(knowledge: Any, name: str | None) -> str:
    """The base that was named, else the first one."""
    return knowledge.library.base(name).id if name else knowledge.library.first()


@knowledge_app.command("add", help=text("cli.knowledge.add"))
def knowledge_add(
    files: list[Path], base: BaseName = None, output_dir: OutputDir = None, as_json: Json = False
) -> None:
    with _knowledge(output_dir) as knowledge:
        base_id = knowledge.library.named(base) if base else _base_id(knowledge, None)
        done = []
        for one in knowledge.add(base_id, files):
            done.append(one)
            if not as_json:
                say(f"{one.name}: {one.error}" if one.error else f"✓ {one.name}")
    if as_json:
        told = [{"name": one.name, "document": one.document_id, "error": str(one.error or "")} for one in done]
        give(told)
    if any(one.error for one in done):
        raise typer.Exit(1)


@knowledge_app.command("search", help=text("cli.knowledge.search"))
def knowledge_search(
    query: str,
    k: Annotated[int, typer.Option("--k", min=1, max=100)] = 5,
    base: BaseName = None,
    output_dir: OutputDir = None,
    as_json: Json = False,
) -> None:
    with _knowledge(output_dir) as knowledge:
        bases = [knowledge.library.base(base).id] if base else [one.id for one in knowledge.library.bases()]
        found = knowledge.search(query, bases, k)
        if knowledge.semantic.untried:
            say(text("cli.knowledge.untried", name=knowledge.semantic.dense.embedding.name))
    if as_json:
        names = ("document", "page", "start", "end", "text", "score", "lexical_rank", "dense_rank")
        give([{name: getattr(one, name) for name in names} for one in found])
        return
    for number, one in enumerate(found, 1):
        print(f"{number}. {one.document} · {one.heading}  {one.score:.1f}\n{one.text}\n")


@knowledge_app.command("list", help=text("cli.knowledge.list"))
def knowledge_list(base: BaseName = None, output_dir: OutputDir = None, as_json: Json = False) -> None:
    with _knowledge(output_dir) as knowledge:
        bases = [knowledge.library.base(base)] if base else knowledge.library.bases()
        told = [(one, knowledge.library.documents(one.id)) for one in bases]
    if as_json:
        give([{**asdict(one), "documents": [asdict(document) for document in documents]} for one, documents in told])
        return
    for one, documents in told:
        print(f"{one.name}  ({len(documents)})")
        for document in documents:
            print(f"  {document.id}  {document.title}  {document.chunks}")


@knowledge_app.command("remove", help=text("cli.knowledge.remove"))
def knowledge_remove(document: str, output_dir: OutputDir = None) -> None:
    with _knowledge(output_dir) as knowledge:
        knowledge.library.remove(document)


@knowledge_app.command("rebuild", help=text("cli.knowledge.rebuild"))
def knowledge_rebuild(output_dir: OutputDir = None) -> None:
    with _knowledge(output_dir) as knowledge:
        dense = knowledge.semantic.rebuild()
        key = "ui.knowledge.helps" if dense.trust > 0 else "ui.knowledge.helps_not"
        print(text(key, name=dense.embedding.name, trust=dense.trust))


@app.command(help=text("cli.doctor"))
def doctor(output_dir: OutputDir = None, as_json: Json = False) -> None:
    from anime_ai.doctor import check_all

    settings = Settings.load(output_dir=output_dir)
    checks = check_all(settings)
    if as_json:
        give({"checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            print(
                f"{'✓' if check.ok else '✗'} {check.name}: {check.found}"
                + (f"\n    → {check.mend}" if check.mend else "")
            )
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def _numbers(rows: tuple[int, ...]) -> str:
    shown = "、" if process_language() == "zh" else ", "
    return shown.join(str(row) for row in rows[:10]) + (" …" if len(rows) > 10 else "")
