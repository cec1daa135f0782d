"""Direct preference optimisation on pairs of a better and a worse answer (Rafailov et al. 2023).

The two answers of a pair share their prompt, so that a pack computes it once. What the adapter says before it starts is
the reference: it is computed once for all rows, and no second model is held. Knows no run folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from anime_ai.training import loop
from anime_ai.training.packing import Encoded, Item, Packer, tensors


class Preference:
    """The loss of a pack of pairs: -log σ(β · margin), summed over them. `seen` collects what the last packs told."""

    def __init__(self, beta: float, reference: dict[Encoded, float]) -> None:
        self.beta, self.reference = beta, reference
        self.seen: list[tuple[float, float]] = []

    def __call__(self, model: Any, pack: dict[str, Any], rows: Sequence[Encoded]) -> torch.Tensor:
        losses = loop.pack_losses(model, pack, len(rows))
        before = torch.tensor([self.reference[row] for row in rows], device=losses.device)
        likelier = before - losses  # by how much each answer is likelier than it was
        margin = self.beta * (likelier[0::2] - likelier[1::2])
        if torch.is_grad_enabled():
            told = margin.detach()
            self.seen += [(float(one), float(one > 0)) for one in told]
        return -torch.nn.functional.logsigmoid(margin).sum()

    def told(self) -> dict[str, float]:
        """Mean margin, and the share of pairs in which the better answer gained more, since it was asked last."""
        if not self.seen:
            return {}
        margins, right = zip(*self.seen, strict=True)
        self.seen = []
        return {"margin": sum(margins) / len(margins), "accuracy": sum(right) / len(right)}


def references(model: Any, pairs: Sequence[Item], packer: Packer) -> dict[Encoded, float]:
    """The summed loss of every answer with the model as it is."""
    found: dict[Encoded, float] = {}
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        for items in packer(pairs):
            rows = [row for item in items for row in item]
            pack = tensors(rows)
            pack |= {name: value.to(device) for name, value in pack.items() if name != "pieces"}
            found |= dict(zip(rows, loop.pack_losses(model, pack, len(rows)).tolist(), strict=True))
    model.train(training)
    return found
