"""Packs of rows: their loss and their gradients are those of plain transformers, row by row, for every lever."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from anime_ai.prompting import MASKED
from anime_ai.training import packing
from anime_ai.training.packing import Encoded, Packer, computed, flat, orders, shared, tensors


def row(ids: list[int], trained: int) -> Encoded:
    """The last `trained` tokens are learned."""
    return Encoded(tuple(ids), tuple([MASKED] * (len(ids) - trained) + ids[len(ids) - trained :]))


CARD = list(range(100, 130))
ROWS = [row([*CARD, 7, number, 8, *range(200, 203 + number)], 3 + number) for number in range(6)]
ALONE = [row([9, number, 8, *range(300, 304)], 4) for number in range(3)]


def test_what_rows_share_ends_before_what_is_learned() -> None:
    assert shared(ROWS) == len(CARD) + 1
    assert shared([*ROWS, ALONE[0]]) == 0
    same = row([*CARD, 1, 2, 3], 2)
    assert shared([same, same]) == len(CARD)
    learned = row([5, 6], 2)
    assert shared([learned, learned]) == 0
    assert computed(ROWS) == 31 + sum(len(one.ids) - 31 for one in ROWS)


def test_packs_keep_their_budget_and_every_row() -> None:
    chance = random.Random(0)
    for budget in (1, 20, 45, 60, 10_000):
        rows = [*ROWS, *ALONE]
        chance.shuffle(rows)
        packer = Packer(budget)
        found = [flat(pack) for pack in packer([(one,) for one in rows])]
        assert sorted(one.ids for pack in found for one in pack) == sorted(one.ids for one in rows)
        assert all(computed(pack) <= budget or len(pack) == 1 for pack in found)
        assert packer.largest == max(map(computed, found))
    assert len(Packer(10_000, apart=True)([(one,) for one in ROWS])) == len(ROWS)


def test_too_large_a_pack_is_halved_until_a_row_is_left() -> None:
    packer = Packer(10_000)
    sizes = []
    while True:
        packer([(one,) for one in ROWS])
        sizes.append(packer.largest)
        if not packer.halve():
            break
    assert sizes[0] == computed(ROWS)
    assert sizes[-1] == max(len(one.ids) for one in ROWS)
    assert all(after < before for before, after in zip(sizes, sizes[1:], strict=False))


def test_every_pass_sees_every_row_once_in_another_order() -> None:
    order = orders(10, 4, 9, seed=1)
    assert [len(one) for one in order] == [4, 4, 2] * 3
    passes = [sum(order[start : start + 3], []) for start in (0, 3, 6)]
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert len({tuple(one) for one in passes}) == 3
    assert order == orders(10, 4, 9, seed=1) != orders(10, 4, 9, seed=2)


def test_a_token_sees_the_shared_beginning_and_its_own_row_only() -> None:
    pack = tensors(ROWS[:2])
    mask, places = pack["attention_mask"][0, 0], pack["position_ids"][0].tolist()
    common, first = 31, len(ROWS[0].ids)
    assert places == [*range(first), *range(common, len(ROWS[1].ids))]
    for here in range(len(places)):
        seen = [other for other in range(len(places)) if mask[here, other]]
        begin = common if here < first else first
        assert (
            seen == [*range(min(common, here + 1)), *range(begin, here + 1)] if here >= common else [*range(here + 1)]
        )
    assert int((pack["labels"] != MASKED).sum()) == sum(one.trained for one in ROWS[:2])


@pytest.mark.parametrize("budget", [1, 45, 60, 10_000])
@pytest.mark.parametrize("most", [3, 16, 40, 128])
def test_pieces_see_all_that_the_mask_lets_them_see(monkeypatch: pytest.MonkeyPatch, budget: int, most: int) -> None:
    monkeypatch.setattr(packing, "PIECE", most)
    for pack in Packer(budget)([(one,) for one in [*ROWS, *ALONE]]):
        told = tensors(flat(pack))
        mask, pieces = told["attention_mask"][0, 0], told["pieces"]
        assert [place for first, last, *_ in pieces for place in range(first, last)] == list(range(len(mask)))
        for first, last, begin, common in pieces:
            assert last - first <= most
            assert not mask[first:last, common:begin].any()
            assert not mask[first:last, last:].any()


# ---- against plain transformers, on the starter -------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(starter: Path) -> list[Encoded]:
    """Shipped rows of one persona, half of them behind her card of the page."""
    from transformers import AutoTokenizer

    from anime_ai.config import DATA
    from anime_ai.dataset.files import read_rows
    from anime_ai.dataset.preprocess import encode_rows
    from anime_ai.persona.cards import Personas
    from anime_ai.prompting import Layout

    layout = Layout(AutoTokenizer.from_pretrained(starter), "deepseek-r1", "silent")
    chosen = [one for one in read_rows(DATA / "dataset.json").rows if one.persona == "傲娇"][:12]
    encoded, _, _ = encode_rows(chosen, Personas(), layout, 512)
    return [Encoded(tuple(one.ids), tuple(one.labels)) for one in encoded.values()]


def adapted(starter: Path, attention: str = "sdpa", dtype: str = "float32") -> Any:
    """The starter under an adapter whose weights are all other than zero, the same every time."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from anime_ai.training.lean import make_lean
    from anime_ai.training.objective import give_objective

    plain = "sdpa" if attention == "lean" else attention
    model = AutoModelForCausalLM.from_pretrained(starter, dtype=getattr(torch, dtype), attn_implementation=plain)
    torch.manual_seed(0)
    model = get_peft_model(
        model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"), autocast_adapter_dtype=False
    )
    for weight in model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.05)
    give_objective(model.get_base_model())
    if attention == "lean":
        make_lean(model)
    return model.train()


def plain_gradients(model: Any, rows: list[Encoded]) -> tuple[float, dict[str, Any]]:
    """The loss over all trained tokens as plain transformers has it, a row at a time, and its gradients."""
    import torch

    total = sum(one.trained for one in rows)
    told = 0.0
    for one in rows:
        ids, labels = torch.tensor([one.ids]), torch.tensor([one.labels])
        loss = model(input_ids=ids, labels=labels).loss * one.trained / total
        loss.backward()
        told += loss.item()
    return told, taken(model)


def taken(model: Any) -> dict[str, Any]:
    found = {name: weight.grad.float().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    model.zero_grad()
    return found


def packed_gradients(model: Any, rows: list[Encoded], packer: Packer) -> tuple[float, dict[str, Any]]:
    from anime_ai.training.loop import pack_losses

    total = sum(one.trained for one in rows)
    told = 0.0
    for items in packer([(one,) for one in rows]):
        pack = flat(items)
        loss = pack_losses(model, tensors(pack), len(pack)).sum() / total
        loss.backward()
        told += loss.item()
    return told, taken(model)


def far(one: dict[str, Any], other: dict[str, Any]) -> float:
    """How far two sets of gradients are apart, as a share of their length."""
    import torch

    a, b = (torch.cat([value.flatten() for value in each.values()]) for each in (one, other))
    return float((a - b).norm() / a.norm())


@pytest.mark.parametrize("attention", ["sdpa", "eager", "lean"])
@pytest.mark.parametrize(
    "packer",
    [Packer(1024), Packer(1), Packer(150), Packer(1024, apart=True)],
    ids=["one pack", "rows apart by budget", "some packs", "rows apart"],
)
def test_the_gradients_of_packs_are_those_of_rows(
    starter: Path, rows: list[Encoded], packer: Packer, attention: str
) -> None:
    loss, gradients = plain_gradients(adapted(starter), rows)
    packed, found = packed_gradients(adapted(starter, attention), rows, packer)
    assert packed == pytest.approx(loss, rel=1e-5)
    assert far(gradients, found) < 1e-5


@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
def test_the_head_in_slices_gives_the_same(
    starter: Path, rows: list[Encoded], monkeypatch: pytest.MonkeyPatch, trained: bool
) -> None:
    from anime_ai.training import objective

    model = adapted(starter)
    model.get_base_model().get_output_embeddings().weight.requires_grad_(trained)
    loss, gradients = plain_gradients(model, rows)
    monkeypatch.setitem(objective.SLICES, "cpu", 7)
    packed, found = packed_gradients(model, rows, Packer(1024))
    assert packed == pytest.approx(loss, rel=1e-5)
    assert far(gradients, found) < 1e-5


def test_sixteen_bits_are_as_near_as_sixteen_bits_are(starter: Path, rows: list[Encoded]) -> None:
    """The bound is what plain transformers in 16 bits differs by from itself in 32."""
    _, wide = plain_gradients(adapted(starter), rows)
    _, plain = plain_gradients(adapted(starter, dtype="bfloat16"), rows)
    for attention in ("sdpa", "lean"):
        _, packed = packed_gradients(adapted(starter, attention, "bfloat16"), rows, Packer(1024))
        assert far(wide, packed) < 1.5 * far(wide, plain), attention


def test_checkpointing_gives_the_same(starter: Path, rows: list[Encoded]) -> None:
    model = adapted(starter)
    loss, gradients = plain_gradients(model, rows)
    model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    packed, found = packed_gradients(model, rows, Packer(1024))
    assert packed == pytest.approx(loss, rel=1e-5)
    assert far(gradients, found) < 1e-5


def test_masters_learn_what_sixteen_bits_would_lose_and_their_state_goes_on() -> None:
    import torch

    from anime_ai.training.optimisers import MasterAdamW, optimiser

    def steps(weight: Any, taken: Any, count: int) -> None:
        for number in range(count):
            weight.grad = torch.full_like(weight, 1.0 if number % 2 else 0.5)
            taken.step()

    wide = torch.nn.Parameter(torch.linspace(-3, 3, 64))
    narrow = torch.nn.Parameter(wide.detach().to(torch.bfloat16))
    plain = torch.nn.Parameter(narrow.detach().float())
    reference = torch.optim.AdamW([plain], lr=1e-4, weight_decay=0.0)
    masters = MasterAdamW([narrow], lr=1e-4)
    steps(plain, reference, 40)
    steps(narrow, masters, 20)
    kept = torch.nn.Parameter(narrow.detach().clone())
    again = MasterAdamW([kept], lr=1.0)
    again.load_state_dict(masters.state_dict())
    steps(kept, again, 20)
    assert torch.equal(kept, plain.to(torch.bfloat16))
    assert isinstance(optimiser(torch.nn.Linear(2, 2, dtype=torch.bfloat16), 1e-3, 1.0, False), MasterAdamW)
    assert not isinstance(optimiser(torch.nn.Linear(2, 2), 1e-3, 1.0, False), MasterAdamW)
