"""The training loop's economy: transformers' Trainer whose batch is a whole optimiser step in packs.

Checkpoints, schedules, logging, evaluation and data parallelism stay the Trainer's. Knows no run folder and no texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer

from anime_ai.processes import give_back_memory
from anime_ai.prompting import MASKED
from anime_ai.training.lean import ATTENTION as LEAN
from anime_ai.training.packing import Encoded, Item, Packer, flat, tensors

Objective = Callable[[Any, dict[str, Any], Sequence[Encoded]], torch.Tensor]
"""Model, pack and its rows to a loss, summed over what a step's loss is the mean of."""


class Steps(Dataset[Any]):
    """One item for every process at every step: its share of the step's rows, in packs.

    `weight` of the share: how many trained tokens (or whole items, where `counted`) its loss is summed over. A process
    without a row gets one from which nothing is to be learned, as all have to take part.
    """

    def __init__(
        self,
        items: Sequence[Item],
        order: Sequence[Sequence[int]],
        packer: Packer,
        processes: int = 1,
        counted: bool = False,
    ) -> None:
        self.items, self.order, self.packer = items, order, packer
        self.processes, self.counted = processes, counted

    def __len__(self) -> int:
        return len(self.order) * self.processes

    def __getitem__(self, place: int) -> dict[str, Any]:
        step, process = divmod(place, self.processes)
        mine = [self.items[one] for one in self.order[step][process :: self.processes]]
        weight = len(mine) if self.counted else sum(row.trained for row in flat(mine))
        if not mine:
            first = self.items[self.order[step][0]]
            mine = [tuple(Encoded(row.ids, (MASKED,) * len(row.ids)) for row in first)]
        packs = self.packer(mine)
        return {
            "packs": [tensors(flat(pack)) for pack in packs],
            "rows": [flat(pack) for pack in packs],
            "weight": weight,
            "tokens": sum(len(row.ids) for row in flat(mine)),
        }


def only(items: list[dict[str, Any]]) -> dict[str, Any]:
    """The collator: a step comes as it is."""
    (item,) = items
    return item


class StepTrainer(Trainer):
    """A Trainer over `Steps`, whose loss is an objective's. `tokens_seen` counts the rows' tokens, each row whole, of
    this process."""

    def __init__(self, objective: Objective | None = None, **kwargs: Any) -> None:
        super().__init__(data_collator=only, **kwargs)
        self.objective: Objective = objective or token_loss
        self.tokens_seen = 0

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        steps: Any = self.train_dataset if train_dataset is None else train_dataset
        return SequentialSampler(steps)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """The mean loss of all the step's trained tokens; its gradients are in the weights."""
        model.train()
        inputs = self._prepare_inputs(inputs)
        self.tokens_seen += inputs["tokens"]
        processes = self.accelerator.num_processes
        count = torch.tensor(float(inputs["weight"]), device=self.args.device)
        # What data parallelism averages over the processes is to be the sum of their tokens over all tokens.
        share = processes / self.accelerator.reduce(count, "sum").clamp(min=1)
        loss = torch.zeros((), device=self.args.device)
        last = len(inputs["packs"]) - 1
        for number, pack in enumerate(inputs["packs"]):
            quiet: AbstractContextManager[Any] = nullcontext()
            if processes > 1 and number < last:
                quiet = self.accelerator.no_sync(model)
            with quiet:
                with self.compute_loss_context_manager():
                    part = self.objective(model, pack, inputs["rows"][number]) * share
                self.accelerator.backward(part)
            loss += part.detach()
            if self.args.device.type == "cpu":
                # The next pack is of another size, and does not fit where this one was.
                give_back_memory()
        return loss

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[torch.Tensor, None, None]:
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            parts = zip(inputs["packs"], inputs["rows"], strict=True)
            losses = [self.objective(model, pack, rows) for pack, rows in parts]
        return torch.stack(losses).sum() / max(1, inputs["weight"]), None, None


def token_loss(model: Any, pack: dict[str, Any], rows: Sequence[Encoded]) -> torch.Tensor:
    """The loss of a pack summed over its trained tokens."""
    return pack_losses(model, pack, len(rows)).sum()


def pack_losses(model: Any, pack: dict[str, Any], rows: int) -> torch.Tensor:
    """The summed loss of each row of a pack. The model was given its objective."""
    mask, more = pack["attention_mask"], {}
    attention = getattr(model, "module", model).config._attn_implementation
    if attention == LEAN:
        more = {"pieces": pack["pieces"]}
    if attention == "eager":  # which adds what it is given
        mask = torch.zeros(mask.shape, dtype=model_dtype(model), device=mask.device).masked_fill(
            ~mask, torch.finfo(model_dtype(model)).min
        )
    return model(
        input_ids=pack["input_ids"],
        position_ids=pack["position_ids"],
        attention_mask=mask,
        targets=pack["labels"],
        owners=pack["owners"],
        rows=rows,
        **more,
    )


def model_dtype(model: Any) -> torch.dtype:
    return next(weight.dtype for weight in model.parameters() if weight.is_floating_point())
