"""`python -m anime_ai dataset …`: what is wrong with a dataset, and what it is like.

Only words; the work is the library's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anime_ai.cli_shared import Json, OutputDir, find, give, personas_of, say, stored_dataset
from anime_ai.config import Settings
from anime_ai.texts import text

if TYPE_CHECKING:
    from anime_ai.dataset.checks import Finding
    from anime_ai.dataset.files import Reading
    from anime_ai.dataset.profile import Histogram, Length, Voice
    from anime_ai.dataset.rows import Problem, Row
    from anime_ai.models.bases import Base

dataset_app = typer.Typer(help=text("cli.dataset.group"), no_args_is_help=True)
Dataset = Annotated[str, typer.Argument(metavar="FILE", help=text("cli.dataset"))]
Model = Annotated[str | None, typer.Option("--model", help=text("cli.model"))]
Persona = Annotated[str | None, typer.Option("--persona", help=text("cli.dataset.persona"))]
Encoding = Annotated[str | None, typer.Option("--encoding", help=text("cli.encoding"))]
BAR = 40
"""Characters of the longest bar."""


@dataclass(frozen=True)
class _Source:
    """What a file holds, the numbers of its good rows, and the line of every number as far as it is known."""

    reading: Reading
    numbers: Sequence[int]
    lines: Sequence[int] = ()

    def line(self, problem: Problem) -> int | None:
        return self.lines[problem.row - 1] if problem.row <= len(self.lines) else None


def _source(file: str, settings: Settings, encoding: str | None, persona: str | None) -> _Source:
    """What a file holds, or a dataset of the app by name. Raises DatasetError where it cannot be read as a whole."""
    from anime_ai.dataset.files import Reading
    from anime_ai.dataset.intake import Choices, read_file

    stored = stored_dataset(file, settings)
    if stored is not None:
        return _Source(Reading(tuple(stored), (), ""), range(1, len(stored) + 1))
    reading = read_file(Path(file), Choices(encoding=encoding, persona=persona or ""))
    return _numbered(reading, Path(file).read_bytes().decode(reading.encoding or "utf-8", "replace"))


def _numbered(reading: Reading, content: str) -> _Source:
    """The numbers that the reading counts by: of records, or in JSON lines of lines; and where each of them begins."""
    from anime_ai.dataset.checks import row_lines

    lines = row_lines(content)
    bad = {problem.row for problem in reading.problems}
    if len(lines) != len(reading.rows) + len(bad):  # a row is not a record there, or not one of a text
        return _Source(reading, range(1, len(reading.rows) + 1))
    if content.lstrip("\ufeff \t\r\n").startswith("["):
        return _Source(reading, [number for number in range(1, len(lines) + 1) if number not in bad], lines)
    return _Source(reading, [line for line in lines if line not in bad], range(1, lines[-1] + 1))


def _measured(rows: Sequence[Row], settings: Settings) -> tuple[Base, tuple[Length | None, ...]]:
    from anime_ai.dataset.profile import lengths
    from anime_ai.prompting import Layout

    base = find(settings.model_name, settings)
    from anime_ai.models.transformers_engine import load_tokenizer

    layout = Layout(load_tokenizer(base), settings.prompt_format, settings.think)
    return base, lengths(rows, personas_of(settings), layout, settings.max_length)


@dataset_app.command("check", help=text("cli.dataset.check"))
def check(
    file: Dataset,
    persona: Persona = None,
    model: Model = None,
    encoding: Encoding = None,
    output_dir: OutputDir = None,
    as_json: Json = False,
) -> None:
    from anime_ai.dataset.checks import DUPLICATES
    from anime_ai.dataset.checks import check as findings

    settings = Settings.load(output_dir=output_dir, model_name=model)
    source = _source(file, settings, encoding, persona)
    rows, problems = source.reading.rows, source.reading.problems
    _, lengths = _measured(rows, settings)
    found = findings(rows, numbers=source.numbers, lines=source.lines, lengths=lengths, max_length=settings.max_length)
    wrong = [one for one in found if one.severity == "error"]
    alike = [one for one in found if one.key in DUPLICATES]
    doubtful = [one for one in found if one.severity == "warning" and one.key not in DUPLICATES]
    errors = [*(_unread(problem, source.line(problem)) for problem in problems), *map(_told, wrong)]
    errors.sort(key=lambda one: one["row"])
    value = {
        "rows": len(rows) + len(problems),
        "ok": not errors,
        "errors": errors,
        "warnings": [_told(one) for one in doubtful],
        "duplicates": [{**_told(one), "other": one.values["other"]} for one in alike],
        "tokens": sum(length.kept for length in lengths if length),
    }
    if as_json:
        give(value)
    else:
        lines = [(problem.row, "✗", problem.say()) for problem in problems]
        lines += [(one.row, "✗" if one.severity == "error" else "!", one.say()) for one in found]
        for _, mark, line in sorted(lines, key=lambda told: told[0]):
            print(f"{mark} {line}")
        counts: dict[str, Any] = {"errors": len(errors), "warnings": len(doubtful), "duplicates": len(alike)}
        print(text("cli.dataset.checked", rows=value["rows"], tokens=value["tokens"], **counts))
    if errors:
        say(text("cli.dataset.wrong", count=len(errors)))
        raise typer.Exit(1)


@dataset_app.command("convert", help=text("cli.dataset.convert"))
def convert(
    file: Dataset,
    to: Annotated[str, typer.Option("--to", help=text("cli.dataset.to"))],
    out: Annotated[Path, typer.Option("--out", help=text("cli.dataset.out"))],
    persona: Persona = None,
    encoding: Encoding = None,
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help=text("cli.skip_bad_rows"))] = False,
    output_dir: OutputDir = None,
) -> None:
    from anime_ai.dataset.export import export
    from anime_ai.dataset.files import good_rows
    from anime_ai.files import write_bytes

    settings = Settings.load(output_dir=output_dir)
    reading = _source(file, settings, encoding, persona).reading
    made = export(good_rows(reading, file, skip_bad_rows), to)
    write_bytes(out, made.content)
    for note in (*reading.notes, *made.notes):
        say(note.say())
    print(text("cli.dataset.converted", rows=made.rows, path=out))


def _told(finding: Finding) -> dict[str, Any]:
    return {
        "row": finding.row,
        "line": finding.line or None,
        "field": finding.field,
        "message": finding.message(),
    }


def _unread(problem: Problem, line: int | None) -> dict[str, Any]:
    why = text(f"problem.{problem.key}", **problem.values)
    return {"row": problem.row, "line": line, "field": problem.field, "message": why}


@dataset_app.command("stats", help=text("cli.dataset.stats"))
def stats(
    file: Dataset,
    persona: Persona = None,
    model: Model = None,
    encoding: Encoding = None,
    output_dir: OutputDir = None,
    as_json: Json = False,
) -> None:
    from anime_ai.dataset.files import good_rows
    from anime_ai.dataset.profile import histogram, profile

    settings = Settings.load(output_dir=output_dir, model_name=model)
    reading = _source(file, settings, encoding, persona).reading
    rows = good_rows(reading, file, skip_bad=True)
    for problem in reading.problems:
        say(text("cli.skipped", problem=problem.say()))
    base, lengths = _measured(rows, settings)
    measured = [length for length in lengths if length]
    bars = histogram([length.tokens for length in measured], settings.max_length)
    tokens: dict[str, Any] = {
        "total": sum(length.kept for length in measured),
        "trained": sum(length.trained for length in measured),
        "longest": max((length.tokens for length in measured), default=0),
        "max_length": settings.max_length,
        "shortened": sum(length.dropped > 0 for length in measured),
        "left_out": sum(not length.kept for length in measured),
        "histogram": asdict(bars),
    }
    voices = profile(rows)
    plans = _plans(rows, lengths, settings, base)
    if as_json:
        told = [{**asdict(voice), "training": plans.get(voice.persona)} for voice in voices]
        give({"rows": len(rows), "personas": told, "tokens": tokens})
        return
    for voice in voices:
        _print_voice(voice, plans.get(voice.persona))
    print(text("cli.dataset.tokens", **{name: figure for name, figure in tokens.items() if name != "histogram"}))
    _print_bars(bars, settings.max_length)


def _print_bars(bars: Histogram, max_length: int) -> None:
    """A line for each bin that holds rows, and the line at which rows are cut."""
    most = max(bars.counts, default=0)
    for count, start, end in zip(bars.counts, bars.edges, bars.edges[1:], strict=False):
        if start == max_length:
            print(f"{'✂ ' + str(max_length):>13}")
        if count:
            print(f"{start:6d}–{end:<6d} {'█' * math.ceil(BAR * count / most)} {count}")


def _plans(
    rows: Sequence[Row], lengths: Sequence[Length | None], settings: Settings, base: Base
) -> dict[str, dict[str, Any]]:
    """What a training of each persona comes to with the settings as they are: rows that train, epochs, steps."""
    from anime_ai.dataset.split import personas_of, split_rows
    from anime_ai.training.recipe import Recipe, plan

    recipe = Recipe.from_values({}, settings)
    fits = [place for place in split_rows(rows, recipe.seed).train if (length := lengths[place]) and length.kept]
    plans = {}
    for persona in personas_of(rows):
        own = sum(rows[place].persona == persona for place in fits)
        if own:
            schedule = plan(recipe, own, base.parameters())
            plans[persona] = {"rows": own, "epochs": schedule.epochs, "steps": schedule.steps}
    return plans


def _print_voice(voice: Voice, training: dict[str, Any] | None) -> None:
    least, middle, most = voice.quantiles
    shown = {end: share for end, share in voice.ends.items() if share >= 0.005}
    ends = "  ".join(
        f"{text('cli.dataset.other') if end == 'other' else end} {share:.0%}" for end, share in shown.items()
    )
    print(text("cli.dataset.voice", name=voice.persona or "-", rows=voice.rows, mean=voice.mean))
    print(text("cli.dataset.lengths", least=least, middle=middle, most=most, ends=ends))
    print(text("cli.dataset.shares", emoji=voice.emoji, history=voice.history, inner=voice.inner))
    phrases = "  ".join(f"{one.text} {one.count}" for one in voice.catchphrases)
    if phrases:
        print(text("cli.dataset.phrases", phrases=phrases))
    if training:
        print(text("cli.dataset.training", **training))
    print()
