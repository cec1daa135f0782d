"""What steps an adapter's weights: AdamW over fp32 masters, and which weights go at which rate. Knows no trainer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

DECAY = 0.0


class MasterAdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov & Hutter 2019) whose weights are 16 bits wide, with fp32 masters and states.

    The model computes in 16 bits throughout, with no copies on the way; what it learns is added up in 32 (Micikevicius
    et al. 2018, mixed precision training). Its state holds the masters: a resumed training goes on to the bit.
    """

    def __init__(self, params: Iterable[Any], lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": 1e-8, "weight_decay": DECAY})
        groups = []
        for group in self.param_groups:
            masters = [weight.detach().float().clone().requires_grad_() for weight in group["params"]]
            groups.append({**group, "params": masters})
        self._inner = torch.optim.AdamW(groups, fused=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group, inner in zip(self.param_groups, self._inner.param_groups, strict=True):
            inner["lr"] = group["lr"]
            for weight, master in zip(group["params"], inner["params"], strict=True):
                master.grad = None if weight.grad is None else weight.grad.float()
        self._inner.step()
        self._inner.zero_grad()  # as wide as the masters, and of no use while the next step is computed
        for group, inner in zip(self.param_groups, self._inner.param_groups, strict=True):
            torch._foreach_copy_(list(group["params"]), list(inner["params"]))

    def state_dict(self) -> dict[str, Any]:
        masters = [[master.detach() for master in group["params"]] for group in self._inner.param_groups]
        groups = [{name: value for name, value in group.items() if name != "params"} for group in self.param_groups]
        return {"inner": self._inner.state_dict(), "masters": masters, "param_groups": groups, "state": {}}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._inner.load_state_dict(state_dict["inner"])
        for group, inner, masters, told in zip(
            self.param_groups, self._inner.param_groups, state_dict["masters"], state_dict["param_groups"], strict=True
        ):
            group.update(told)
            for weight, master, kept in zip(group["params"], inner["params"], masters, strict=True):
                master.copy_(kept)
                weight.copy_(kept)


def groups(model: Any, rate: float, ratio: float = 1.0) -> list[dict[str, Any]]:
    """The trained weights with their rates; those that LoRA starts at zero (B) go `ratio` times as fast (Hayou et al.
    2024, LoRA+)."""
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    faster = [weight for name, weight in named if "lora_B" in name] if ratio != 1.0 else []
    others = [weight for name, weight in named if not (ratio != 1.0 and "lora_B" in name)]
    found = [{"params": others, "lr": rate}, {"params": faster, "lr": rate * ratio}]
    return [group for group in found if group["params"]]


def optimiser(model: Any, rate: float, ratio: float, packed: bool) -> torch.optim.Optimizer:
    """For a model's trained weights. `packed`: 8-bit states that may be moved out of a GPU's memory (Dettmers et al.
    2022), by bitsandbytes; else AdamW, over masters where the weights are 16 bits wide."""
    found = groups(model, rate, ratio)
    if packed:
        import bitsandbytes

        return bitsandbytes.optim.PagedAdamW8bit(found, lr=rate, weight_decay=DECAY)
    narrow = any(weight.dtype != torch.float32 for group in found for weight in group["params"])
    if narrow:
        return MasterAdamW(found, rate)
    return torch.optim.AdamW(found, lr=rate, weight_decay=DECAY, fused=True)
