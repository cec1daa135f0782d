"""Which rows a step trains on, and how they share sequences: without padding, what they begin with computed once.

Rows of one persona stand behind the same card, which is often longer than they are. A pack is one sequence: the shared
beginning, then the rest of each row, whose tokens see the beginning and their own row only and whose positions go on
from it. Its loss and gradients are those of the rows one by one. (Packing without cross-talk: Krell et al. 2021; a
prefix computed once: as in "shared prefix" attention of inference engines.) Knows no model and no trainer.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anime_ai.prompting import MASKED


@dataclass(frozen=True)
class Encoded:
    """A row's token ids, and its labels, which are MASKED where nothing is to be learned."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def free(self) -> int:
        """How many tokens may be shared with other rows: the one before the first label tells what comes, and is its
        own."""
        first = next((place for place, label in enumerate(self.labels) if label != MASKED), len(self.ids))
        return max(0, first - 1)

    @property
    def trained(self) -> int:
        """Labels that a loss is computed for; nothing foresees the first token."""
        return sum(label != MASKED for label in self.labels[1:])


Item = tuple[Encoded, ...]
"""Rows that have to be in one pack: a row, or the two answers of a pair."""


def orders(rows: int, each: int, steps: int, seed: int) -> list[list[int]]:
    """The places of the rows of every step: passes over all of them in new orders, `each` rows a step.

    The last step of a pass has what is left.
    """
    chance = random.Random(seed)
    found: list[list[int]] = []
    while len(found) < steps:
        order = list(range(rows))
        chance.shuffle(order)
        found += [order[start : start + each] for start in range(0, rows, each)]
    return found[:steps]


def shared(rows: Sequence[Encoded]) -> int:
    """Tokens that all rows begin with, at most what each of them may share."""
    most = min(row.free for row in rows)
    first, last = min(row.ids for row in rows), max(row.ids for row in rows)  # what these two share, all do
    return next((place for place in range(most) if first[place] != last[place]), most)


def computed(rows: Sequence[Encoded]) -> int:
    """Tokens of the pack that these rows make."""
    common = shared(rows)
    return common + sum(len(row.ids) - common for row in rows)


def flat(items: Sequence[Item]) -> list[Encoded]:
    """The rows of some items."""
    return [row for item in items for row in item]


Piece = tuple[int, int, int, int]
"""first, last, begin, common: tokens [first, last) of a pack, which see none but [begin, last) and [0, common)."""
PIECE = 128
"""Tokens of a piece at most: what its rows compute of each other is masked away."""


def pieces_of(rows: Sequence[Encoded], common: int) -> tuple[Piece, ...]:
    """What a pack falls into: some rows each, or a part of one. The first `common` tokens are shared by all rows."""
    found: list[Piece] = []
    last = 0
    for size, before in ((common, 0), *((len(row.ids) - common, common) for row in rows)):
        if found and last - found[-1][2] + size <= PIECE and found[-1][3] == before == common:
            found[-1] = (found[-1][0], last + size, found[-1][2], before)
        else:
            cuts = [*range(last, last + size, PIECE), last + size]
            found += [(first, end, last, before) for first, end in zip(cuts, cuts[1:], strict=False)]
        last += size
    return tuple(found)


class Packer:
    """Cuts items into packs of at most `budget` tokens, but an item at least; `apart`: an item each.

    Those that begin alike go together. It remembers the largest pack, for when the memory is not enough for it.
    """

    def __init__(self, budget: int = 0, apart: bool = False) -> None:
        self.budget, self.apart = budget, apart
        self.largest = self.most_items = 0

    def __call__(self, items: Sequence[Item]) -> list[list[Item]]:
        found: list[list[Item]] = []
        for item in sorted(items, key=lambda item: item[0].ids):
            if found and not self.apart and computed(flat([*found[-1], item])) <= self.budget:
                found[-1].append(item)
            else:
                found.append([item])
        self.largest = max(self.largest, *(computed(flat(pack)) for pack in found))
        self.most_items = max(self.most_items, *map(len, found))
        return found

    def halve(self) -> bool:
        """Half of the largest pack from now on; False where that was a single item."""
        if self.most_items <= 1:
            return False
        self.budget = self.largest // 2
        self.largest = self.most_items = 0
        return True


def tensors(rows: Sequence[Encoded]) -> dict[str, Any]:
    """A pack as a model takes it: input_ids, position_ids, labels and owners (1, T), and a mask of bools (1, 1, T, T),
    True where a token (row of the mask) may look at another (column). Owners are the rows' places, -1 where shared.
    `pieces` are the pack's, for an attention that knows what to do with them."""
    import torch

    common = shared(rows) if len(rows) > 1 else 0
    ids, places, labels = list(rows[0].ids[:common]), list(range(common)), [MASKED] * common
    owners = [-1] * common
    for number, row in enumerate(rows):
        rest = len(row.ids) - common
        ids += row.ids[common:]
        places += range(common, common + rest)
        # The first token of a row has nothing before it: with no common beginning it would be foreseen by a stranger.
        labels += [MASKED, *row.labels[1:]] if not common else row.labels[common:]
        owners += [number] * rest
    owner = torch.tensor(owners)
    mine = (owner[:, None] == owner[None, :]) | (owner[None, :] == -1)
    mask = mine.tril()[None, None]
    return {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([places]),
        "labels": torch.tensor([labels]),
        "owners": owner[None],
        "attention_mask": mask,
        "pieces": pieces_of(rows, common),
    }
