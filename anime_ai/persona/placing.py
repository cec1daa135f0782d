"""Where in a conversation an entry of a lorebook stands that asks for a place: so many messages before the end, in
whose words. Knows no prompt.

A prompt holds what is said in turns of two, and one system text at its head. So an entry stands inside a message that
is there: in hers where the book wants her words, else in the user's, marked as lore; `system` in the middle of a
conversation is among the latter. It is put there when it fires, and stays there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anime_ai.persona.lorebook import Entry


@dataclass(frozen=True)
class Place:
    """`back`: how many messages above the question (0 is the question itself) the message is that an entry stands in;
    `side`: "before" or "after" its words; `role`: whose message that is, `wanted`: who the book would have say it."""

    back: int
    side: str
    role: str
    wanted: str


def place_of(entry: Entry, roles: Sequence[str]) -> Place | None:
    """The place of an entry that fires at the end of some messages, "user" or "assistant" each, the question last.

    None where it stands before the question, as all lore does, or says no place. `depth` counts messages from the end:
    0 stands behind the question.
    """
    if entry.depth is None:
        return None
    last = len(roles) - 1
    above = max(0, len(roles) - entry.depth)
    beside = [(above, "before"), (above - 1, "after")]
    wanted = "assistant" if entry.role == "assistant" else "user"
    if wanted == "assistant":  # the end of what she said is nearer to her than the beginning of what follows
        beside.reverse()
    there = [(at, side) for at, side in beside if 0 <= at <= last]
    for role in dict.fromkeys((wanted, "user")):
        for at, side in there:
            if roles[at] == role:
                place = Place(last - at, side, role, entry.role)
                return None if place == Place(0, "before", "user", place.wanted) and wanted == "user" else place
    first = next(at for at, role in enumerate(roles) if role == "user")  # above her greeting nothing can stand
    return Place(last - first, "before", "user", entry.role)
