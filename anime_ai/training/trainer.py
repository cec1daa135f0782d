"""The trainer: a process of its own that turns a run folder's rows into an adapter. Knows the run folder, not the app.

python -m anime_ai.training.trainer RUN_FOLDER ACCELERATOR_LOCK [--resume]
"""

from __future__ import annotations

import argparse
import errno
import logging
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_ai import __version__
from anime_ai.config import Settings
from anime_ai.dataset.preprocess import Manifest, preprocess, stored_rows, tokenizer_sha256
from anime_ai.errors import AnimeAIError, ModelError, TrainingError
from anime_ai.files import read_json, replaced_folder, write_json
from anime_ai.models.bases import Base, find_base
from anime_ai.models.device import let_threads_sleep
from anime_ai.persona.cards import Personas
from anime_ai.processes import Lock, current, lower_priority
from anime_ai.prompting import MASKED, Dialogue, Layout
from anime_ai.training import runs
from anime_ai.training.recipe import Plan, Recipe, plan

log = logging.getLogger("anime_ai.trainer")


@dataclass(frozen=True)
class Job:
    """All that a training needs to know, gathered before the first heavy import."""

    folder: Path
    recipe: Recipe
    base: Base
    dataset: str
    dataset_sha256: str


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("lock", type=Path)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    folder: Path = args.folder
    signal.signal(signal.SIGTERM, lambda *_: runs.request_stop(folder))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lower_priority()
    let_threads_sleep()
    me = current()
    _wait_for_starter(folder, me.pid)
    try:
        runs.write_status(folder, state="queued", pid=me.pid, started=me.started, error=None)
        lock = Lock(args.lock)
        while not lock.try_acquire():
            if (folder / runs.STOP).exists():
                runs.write_status(folder, state="stopped")
                return 0
            time.sleep(0.5)
        runs.write_status(folder, state="starting")
        _train(folder, args.resume)
    except AnimeAIError as error:
        log.error("%s", error.say("en"))
        _fail(folder, error)
        return 1
    except Exception as error:
        log.exception("the run failed")
        _fail(folder, _translate(error))
        return 1
    return 0


def _wait_for_starter(folder: Path, pid: int) -> None:
    """Until whoever started this process has written down its pid, or is gone: two must not write the status."""
    end = time.monotonic() + 3
    while (read_json(folder / runs.STATUS) or {}).get("pid") != pid and time.monotonic() < end:
        time.sleep(0.02)


def _fail(folder: Path, error: AnimeAIError) -> None:
    # On a full disk there is room for the last word only once the half-written checkpoint is gone.
    runs.drop_unfinished(folder)
    values = {name: value if isinstance(value, (int, float)) else str(value) for name, value in error.values.items()}
    runs.write_status(folder, state="failed", error={"key": error.key, "values": values}, eta_s=None)


def _translate(error: Exception) -> AnimeAIError:
    """What a user can do about an exception of torch, of the disk, or of nobody knows whom."""
    if _is_disk_full(error):
        return TrainingError("training.disk_full")
    if _is_out_of_memory(error):
        return TrainingError("training.out_of_memory")
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return TrainingError("training.crashed", why=f"{type(error).__name__}: {first}")


_FULL = ("No space left", "os error 28", "File too large", "PytorchStreamWriter failed", "enforce fail at inline")


def _is_disk_full(error: BaseException | None) -> bool:
    """Python tells it by a number, safetensors in words, torch only in that its writer died."""
    while error is not None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if full or any(word in str(error) for word in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_out_of_memory(error: Exception) -> bool:
    return (
        type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
        or "not enough memory" in str(error)
        or isinstance(error, MemoryError)
    )


def _train(folder: Path, resume: bool) -> None:
    config = read_json(folder / runs.CONFIG)
    if not isinstance(config, dict):
        raise TrainingError("training.no_run", path=folder)
    settings = Settings.load()
    recipe = Recipe.from_values(config["recipe"], settings)
    status = read_json(folder / runs.STATUS) or {}
    # What `auto` meant when the run began is what its checkpoints fit.
    named = status.get("base") if resume and recipe.base == "auto" else None
    base = find_base(named or recipe.base, settings, download=True)
    weights = base.fingerprint()
    if resume and status.get("base_fingerprint", weights) != weights:
        raise ModelError("model.adapter_base_changed", path=folder, base=base.id)
    runs.write_status(folder, base=base.id, base_fingerprint=weights)
    job = Job(folder, recipe, base, str(config.get("dataset", "")), str(config.get("dataset_sha256", "")))
    if not resume:
        shutil.rmtree(folder / runs.CHECKPOINTS, ignore_errors=True)
    batch = recipe.batch_size
    while True:
        runs.drop_unfinished(folder)
        checkpoint = runs.last_checkpoint(folder)
        runs.forget_after(folder, int(checkpoint.name.rpartition("-")[2]) if checkpoint else -1)
        try:
            _fit(job, checkpoint, batch)
            return
        except Exception as error:
            if not _is_out_of_memory(error) or batch == 1:
                raise
            # Only a divisor keeps the effective batch.
            batch = max(size for size in range(1, batch) if recipe.batch_size % size == 0)
            _notice(folder, "training.smaller_batch", batch=batch)
        import gc

        import torch

        gc.collect()
        torch.cuda.empty_cache()


def _notice(folder: Path, key: str, **values: Any) -> None:
    """A line that the page shows beside the run (text key under "notice.")."""
    notices = (read_json(folder / runs.STATUS) or {}).get("notices") or []
    line = {"key": key, "values": values}
    if line not in notices:
        runs.write_status(folder, notices=[*notices, line])


def _data(job: Job, layout: Layout) -> tuple[Any, Any, Manifest]:
    """Train and held-out rows of the persona, encoded for this tokenizer; encoded anew where they are for another."""
    import datasets

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
        manifest = preprocess(rows, Personas(), layout, folder, origin=job.dataset, **limits)  # type: ignore[arg-type]
    if job.dataset_sha256 and manifest.dataset_sha256 != job.dataset_sha256:
        raise TrainingError("training.rows_changed", path=folder)
    if recipe.persona not in manifest.personas:
        known = "、".join(name for name in manifest.personas if name)
        raise TrainingError("dataset.no_persona_rows", persona=recipe.persona, known=known or "-")
    parts = datasets.load_from_disk(str(folder))
    own = {name: _of_persona(part, recipe.persona) for name, part in parts.items()}
    if not len(own["train"]):
        raise TrainingError("dataset.all_too_long", rows=manifest.personas[recipe.persona], most=recipe.max_length)
    held_out = own.get("test")
    return own["train"], held_out if held_out is not None and len(held_out) else None, manifest


def _of_persona(part: Any, persona: str) -> Any:
    """The rows of one persona, by position: `filter` would write a cache file beside the data."""
    return part.select([place for place, name in enumerate(part["persona"]) if name == persona])


class Collator:
    """Pads to the longest row of the batch and masks the padding by length."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        import torch

        longest = max(len(row["input_ids"]) for row in rows)
        batch: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
        for row in rows:
            length = len(row["input_ids"])
            batch["input_ids"].append(list(row["input_ids"]) + [self.pad] * (longest - length))
            batch["attention_mask"].append([1] * length + [0] * (longest - length))
            batch["labels"].append(list(row["labels"]) + [MASKED] * (longest - length))
        return {name: torch.tensor(values) for name, values in batch.items()}


def _fit(job: Job, checkpoint: Path | None, batch: int) -> None:
    from transformers import set_seed
    from trl import SFTTrainer

    from anime_ai.models.device import pick_device, use_allowed_threads
    from anime_ai.models.transformers_engine import load_tokenizer
    from anime_ai.training.callbacks import Reporter
    from anime_ai.training.model import trainable_model

    def notice(key: str, **values: Any) -> None:
        _notice(job.folder, key, **values)

    use_allowed_threads()
    # Before the adapter's first weights are drawn: the same seed gives the same adapter.
    set_seed(job.recipe.seed)
    device = pick_device()
    tokenizer = load_tokenizer(job.base)
    layout = Layout(tokenizer, job.recipe.prompt_format, job.recipe.think)
    train, held_out, manifest = _data(job, layout)
    schedule = plan(job.recipe, len(train), job.base.parameters())
    model, precision = trainable_model(job.base, job.recipe, device, train["input_ids"], batch, notice)
    collator = Collator(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
    reporter = Reporter(job.folder, _prober(model, layout, job.recipe))
    trainer = SFTTrainer(
        model=model,
        args=_arguments(job, schedule, device.kind, precision, batch, held_out is not None, checkpoint is None),
        train_dataset=train,
        eval_dataset=held_out,
        processing_class=tokenizer,
        data_collator=collator,
        callbacks=[reporter],
    )
    _assert_trained_tokens(trainer, collator, train)
    log.info("%d rows, %s, %s, batch %d", len(train), schedule, precision, batch)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    figures = {
        "rows": len(train),
        "steps": trainer.state.global_step,
        "of_steps": schedule.steps,
        "learning_rate": schedule.learning_rate,
        "precision": precision,
        "dataset_sha256": manifest.dataset_sha256,
    }
    _save_final(job, layout, trainer.model, tokenizer, figures)
    state = "stopped" if reporter.stopped.is_set() else "finished"
    (job.folder / runs.STOP).unlink(missing_ok=True)
    runs.write_status(job.folder, state=state, step=trainer.state.global_step, eta_s=None)


def _arguments(job: Job, schedule: Plan, kind: str, precision: str, batch: int, evaluate: bool, fresh: bool) -> Any:
    from trl import SFTConfig

    recipe = job.recipe
    return SFTConfig(
        output_dir=str(job.folder / runs.CHECKPOINTS),
        max_steps=schedule.steps,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=max(batch, 4),
        # A smaller micro-batch after an out-of-memory keeps the effective batch.
        gradient_accumulation_steps=recipe.accumulation * (recipe.batch_size // batch),
        learning_rate=schedule.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=schedule.warmup,
        weight_decay=0.0,
        max_grad_norm=1.0,
        optim="adamw_torch",
        bf16=precision == "bf16" and kind == "cuda",
        fp16=precision == "fp16" and kind == "cuda",
        use_cpu=kind == "cpu",
        gradient_checkpointing=False,
        logging_steps=schedule.log_every,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="non_padding",
        eval_strategy="steps" if evaluate else "no",
        eval_steps=schedule.eval_every,
        # A resumed run has this figure already, and its curve stays ordered.
        eval_on_start=evaluate and fresh,
        save_strategy="steps",
        save_steps=schedule.eval_every,
        save_total_limit=2,
        seed=recipe.seed,
        data_seed=recipe.seed,
        dataloader_num_workers=0,
        dataloader_pin_memory=kind == "cuda",
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        max_length=None,
        report_to=[],
        disable_tqdm=True,
    )


def _assert_trained_tokens(trainer: Any, collator: Collator, train: Any) -> None:
    """What reaches the loss must be what the mask says; a trainer that encodes rows anew would train all of it."""
    wanted = sum(label != MASKED for labels in train["labels"] for label in labels)
    batches = [trainer.train_dataset[start : start + 64] for start in range(0, len(trainer.train_dataset), 64)]
    found = 0
    for columns in batches:
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        found += int((trainer.data_collator(rows)["labels"] != MASKED).sum())
    if found != wanted or trainer.data_collator is not collator:
        raise TrainingError("training.mask", wanted=wanted, found=found)


def _prober(model: Any, layout: Layout, recipe: Recipe) -> Any:
    """Answers a probe prompt with the model as it is now."""
    from dataclasses import replace

    from anime_ai.models.engine import GREEDY
    from anime_ai.models.generation import generate

    card = Personas().system_line(recipe.persona)

    def probe(question: str) -> str:
        prompt = layout.prompt(Dialogue(card=card, question=question))
        training = model.training
        model.eval()
        try:
            pieces = generate(model, layout.tokenizer, prompt, replace(GREEDY, max_new_tokens=64))
            return "".join(piece.text for piece in pieces)
        finally:
            model.train(training)

    return probe


def _save_final(job: Job, layout: Layout, model: Any, tokenizer: Any, figures: dict[str, Any]) -> None:
    """The adapter, its tokenizer, its prompt format and its card, in place of an older one at once."""
    from anime_ai.models.adapters import CARD
    from anime_ai.training.card import model_card

    notes = {
        "base": job.base.id,
        "base_fingerprint": job.base.fingerprint(),
        "persona": job.recipe.persona,
        "prompt_format": layout.format,
        "think": layout.think,
        "layout": layout.fingerprint(),
        "system_line": Personas().system_line(job.recipe.persona),
        "version": __version__,
        **figures,
    }
    with replaced_folder(job.folder / runs.FINAL) as folder:
        model.save_pretrained(folder, safe_serialization=True)
        tokenizer.save_pretrained(folder)
        # PEFT writes the local path of the base, which is nobody's business and nowhere else true.
        config = read_json(folder / "adapter_config.json")
        write_json(folder / "adapter_config.json", {**config, "base_model_name_or_path": job.base.id})
        write_json(folder / CARD, notes)
        (folder / "README.md").write_text(model_card(notes, job.recipe), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
