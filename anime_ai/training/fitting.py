"""One fit of an adapter: data, model and trainer brought together, the adapter saved. Knows no process and no queue."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anime_ai import __version__
from anime_ai.config import Settings
from anime_ai.dataset.preprocess import Manifest, encode_rows, preprocess, stored_rows, tokenizer_sha256
from anime_ai.dataset.split import split_rows
from anime_ai.errors import TrainingError
from anime_ai.files import write_json
from anime_ai.models.bases import Base
from anime_ai.persona.cards import Personas
from anime_ai.prompting import MASKED, Layout
from anime_ai.training import checkpoints, runs
from anime_ai.training.packing import Encoded, Item, Packer, computed, flat, orders
from anime_ai.training.probing import Prober
from anime_ai.training.recipe import Plan, Recipe, plan

if TYPE_CHECKING:
    from anime_ai.models.device import Device
    from anime_ai.training.callbacks import Reporter
    from anime_ai.training.style import Verifier

SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
log = logging.getLogger("anime_ai.trainer")
Notice = Callable[..., None]
MORE_PROBES = 8
"""Questions of held-out rows that may be asked along the training."""


@dataclass(frozen=True)
class Job:
    """All that a training needs to know, gathered before the first heavy import."""

    folder: Path
    recipe: Recipe
    base: Base
    dataset: str
    dataset_sha256: str


@dataclass(frozen=True)
class Data:
    """The persona's rows, encoded for the base's tokenizer: a row an item, or the two answers of a pair."""

    train: list[Item]
    held_out: list[Item]
    manifest: Manifest


def layout_of(job: Job) -> Layout:
    """The base's tokenizer, and how the recipe asks for prompts."""
    from anime_ai.models.transformers_engine import load_tokenizer

    return Layout(load_tokenizer(job.base), job.recipe.prompt_format, job.recipe.think)


def data_of(job: Job, layout: Layout) -> Data:
    """Train and held-out rows of the persona; encoded anew where they are for another tokenizer or layout."""
    recipe, folder = job.recipe, job.folder / runs.DATA
    manifest = Manifest.read(folder)
    asked = (tokenizer_sha256(layout.tokenizer), layout.fingerprint(), recipe.max_length, recipe.seed)
    if manifest is None or asked != (
        manifest.tokenizer_sha256,
        manifest.layout,
        manifest.max_length,
        manifest.seed,
    ):
        rows = stored_rows(folder)
        limits = {"max_length": recipe.max_length, "seed": recipe.seed}
        manifest = preprocess(rows, Personas.of_run(job.folder), layout, folder, origin=job.dataset, **limits)  # type: ignore[arg-type]
    if job.dataset_sha256 and manifest.dataset_sha256 != job.dataset_sha256:
        raise TrainingError("training.rows_changed", path=folder)
    if not manifest.personas.get(recipe.persona):
        known = "、".join(name for name in manifest.personas if name)
        raise TrainingError("dataset.no_persona_rows", persona=recipe.persona, known=known or "-")
    train, held_out = _pairs(job, layout) if recipe.method == "dpo" else _rows(folder, recipe.persona)
    if not train:
        raise TrainingError("dataset.all_too_long", rows=manifest.personas[recipe.persona], most=recipe.max_length)
    return Data(train, held_out, manifest)


def _rows(folder: Path, persona: str) -> tuple[list[Item], list[Item]]:
    import datasets

    parts = datasets.load_from_disk(str(folder))
    own: dict[str, list[Item]] = {
        name: [(Encoded(tuple(row["input_ids"]), tuple(row["labels"])),) for row in part if row["persona"] == persona]
        for name, part in parts.items()
    }
    return own["train"], own.get("test", [])


def _pairs(job: Job, layout: Layout) -> tuple[list[Item], list[Item]]:
    """The rows that have a worse answer, as pairs. Raises TrainingError where there are none."""
    rows = stored_rows(job.folder / runs.DATA)
    split, personas = split_rows(rows, job.recipe.seed), Personas.of_run(job.folder)
    found: list[list[Item]] = []
    for places in (split.train, split.held_out):
        chosen = [rows[place] for place in places if rows[place].persona == job.recipe.persona and rows[place].rejected]
        worse = [replace(row, output=row.rejected, inner="") for row in chosen]
        sides = [encode_rows(side, personas, layout, job.recipe.max_length)[0] for side in (chosen, worse)]
        both = sorted(sides[0].keys() & sides[1].keys())
        found.append([tuple(Encoded(side[one].ids, side[one].labels) for side in sides) for one in both])
    if not found[0]:
        raise TrainingError("training.no_pairs", persona=job.recipe.persona)
    return found[0], found[1]


def fit(
    job: Job,
    checkpoint: Path | None,
    packer: Packer,
    notice: Notice,
    time_is_up: Callable[[], bool] = lambda: False,
) -> bool:
    """Train from the start or from a checkpoint, and make a checkpoint the run's adapter. False where the time was up
    before the end, and a checkpoint waits to be gone on from.

    `packer` is told its budget, and remembers what it was asked for where the memory was not enough.
    """
    from transformers import PrinterCallback, set_seed

    from anime_ai.models.device import pick_device, use_allowed_threads
    from anime_ai.training.callbacks import Follower, Reporter
    from anime_ai.training.loop import Steps, StepTrainer
    from anime_ai.training.preferences import Preference, references

    recipe = job.recipe
    use_allowed_threads()
    # Before the adapter's first weights are drawn: the same seed gives the same adapter.
    set_seed(recipe.seed)
    device = pick_device()
    layout = layout_of(job)
    data = data_of(job, layout)
    schedule = plan(recipe, len(data.train), job.base.parameters())
    model, precision = _model(job, data, device, packer, notice)
    order = orders(len(data.train), recipe.batch_size * recipe.accumulation, schedule.steps, recipe.seed)
    args = arguments(job, schedule, device.kind, precision, bool(data.held_out), checkpoint is None)
    first = args.process_index == 0
    reporter = Reporter(job.folder, prober_of(job, model, layout), recipe.patience, time_is_up) if first else None
    pairs = recipe.method == "dpo"
    objective = Preference(recipe.beta, references(model, [*data.train, *data.held_out], packer)) if pairs else None
    trainer = StepTrainer(
        objective=objective,
        model=model,
        args=args,
        train_dataset=Steps(data.train, order, packer, args.world_size, pairs),
        eval_dataset=(
            Steps(data.held_out, [range(len(data.held_out))], packer, counted=pairs) if data.held_out else None
        ),
        callbacks=[reporter or Follower()],
        optimizers=(_optimiser(model, recipe, schedule, device, notice), None),
    )
    trainer.remove_callback(PrinterCallback)  # the reporter tells it all
    check_trained_tokens(trainer.train_dataset, data.train, order)
    log.info("%d rows, %s, %s, %d tokens at once", len(data.train), schedule, precision, packer.budget)
    if reporter:
        reporter.tokens_seen = lambda: trainer.tokens_seen
        reporter.more = objective.told if objective else dict
        layout.tokenizer.save_pretrained(job.folder / checkpoints.TOKENIZER)
        write_json(job.folder / checkpoints.NOTES, notes_of(job, layout, data, schedule, precision))
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if reporter and not reporter.sliced.is_set():
        if trainer.state.global_step == schedule.steps:
            reporter.early.clear()  # the last evaluation asked for what was over
        finish(job, reporter, trainer.state.global_step, notice)
    return reporter is None or not reporter.sliced.is_set()


def _model(job: Job, data: Data, device: Device, packer: Packer, notice: Notice) -> tuple[Any, str]:
    """The model to train, with its objective, and its precision; `packer` is told what fits beside it."""
    from anime_ai.training.lean import make_lean
    from anime_ai.training.model import pack_budget, trainable_model
    from anime_ai.training.objective import give_objective

    longest = max(computed(item) for item in (*data.train, *data.held_out))
    used = sorted({token for row in flat(data.train) for token in row.ids})
    model, precision = trainable_model(job.base, job.recipe, device, used, longest, notice, Settings.load())
    give_objective(model.get_base_model())
    if device.kind == "cpu":
        make_lean(model)
    packer.budget = packer.budget or pack_budget(model, device, longest)
    packer.apart = job.recipe.packing == "off"
    return model, precision


def _optimiser(model: Any, recipe: Recipe, schedule: Plan, device: Device, notice: Notice) -> Any:
    """What steps the adapter's weights; its state is packed into 8 bits where that was asked for and can be had."""
    from anime_ai.training.optimisers import optimiser

    packed = recipe.optimiser == "adamw_8bit" and device.kind == "cuda"
    if recipe.optimiser == "adamw_8bit" and not packed:
        notice("training.no_eight_bit")
    return optimiser(model, schedule.learning_rate, recipe.lora_plus, packed)


def finish(job: Job, reporter: Reporter, step: int, notice: Notice) -> None:
    """The checkpoint that the recipe asks for becomes the run's adapter."""
    kept = checkpoints.best(job.folder, job.recipe.keep)
    if kept is None:
        raise TrainingError("training.no_checkpoint", step=step)
    checkpoints.promote(job.folder, kept.step)
    if reporter.early.is_set():
        notice("training.stopped_early", step=step)
    (job.folder / runs.STOP).unlink(missing_ok=True)
    state = "stopped" if reporter.stopped.is_set() else "finished"
    runs.write_status(job.folder, state=state, step=step, eta_s=None)


def notes_of(job: Job, layout: Layout, data: Data, schedule: Plan, precision: str) -> dict[str, Any]:
    """What is said of the adapter wherever it goes, but for the step of its checkpoint."""
    return {
        "base": job.base.id,
        "base_fingerprint": job.base.fingerprint(),
        "persona": job.recipe.persona,
        "prompt_format": layout.format,
        "think": layout.think,
        "layout": layout.fingerprint(),
        "system_line": Personas.of_run(job.folder).system_line(job.recipe.persona),
        "version": __version__,
        "rows": len(data.train),
        "of_steps": schedule.steps,
        "learning_rate": schedule.learning_rate,
        "precision": precision,
        "dataset_sha256": data.manifest.dataset_sha256,
    }


def prober_of(job: Job, model: Any, layout: Layout) -> Prober:
    """Asks the fixed questions, and as time allows those of held-out rows."""
    persona = job.recipe.persona
    rows = stored_rows(job.folder / runs.DATA)
    split = split_rows(rows, job.recipe.seed)
    held_out = [rows[place].input for place in split.held_out if rows[place].persona == persona]

    def verifier() -> Verifier | None:
        from anime_ai.training.evaluation import voice_verifier

        try:
            return voice_verifier(rows, split, persona, Settings.load())
        except TrainingError:
            return None

    line = Personas.of_run(job.folder).system_line(persona)
    return Prober(model, layout, line, held_out[:MORE_PROBES], verifier)


def arguments(job: Job, schedule: Plan, kind: str, precision: str, evaluate: bool, fresh: bool) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(job.folder / runs.CHECKPOINTS),
        max_steps=schedule.steps,
        # A batch is a whole step, in packs.
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=1,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type=SCHEDULES[job.recipe.schedule],
        neftune_noise_alpha=job.recipe.neftune or None,
        warmup_steps=schedule.warmup,
        max_grad_norm=1.0,
        # 16-bit weights need no autocast; fp16 does, as its gradients have to be scaled.
        fp16=precision == "fp16" and kind == "cuda",
        use_cpu=kind == "cpu",
        logging_steps=schedule.log_every,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluate else "no",
        eval_steps=schedule.eval_every,
        # A resumed run has this figure already, and its curve stays ordered.
        eval_on_start=evaluate and fresh,
        prediction_loss_only=True,
        save_strategy="steps",
        save_steps=schedule.eval_every,
        seed=job.recipe.seed,
        data_seed=job.recipe.seed,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
    )


def check_trained_tokens(steps: Any, items: list[Item], order: list[list[int]]) -> None:
    """What reaches the loss must be what the mask says, over the first pass. Raises TrainingError."""
    found, wanted, seen = 0, 0, 0
    for place, chosen in enumerate(order):
        if seen >= len(items):
            break
        seen += len(chosen)
        wanted += sum(row.trained for one in chosen for row in items[one])
        for process in range(steps.processes):
            share = steps[place * steps.processes + process]
            found += sum(int((pack["labels"] != MASKED).sum()) for pack in share["packs"])
    if found != wanted:
        raise TrainingError("training.mask", wanted=wanted, found=found)
