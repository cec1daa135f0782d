"""Thought and speech of an answer, told apart while it comes. Knows the marks of a thought, and no model."""

from __future__ import annotations

from anime_ai.prompting import END_THINK, THINK


class ThoughtSplitter:
    """Tells thought from speech in a streamed answer, however it is cut into pieces.

    Blank space around the thought and before the speech belongs to the layout and is dropped. `inside`: whether the
    thought is open, from the prompt on or since the answer opened it. `going_on`: something stands before it.
    """

    def __init__(self, inside: bool, going_on: bool = False) -> None:
        self.inside = inside
        self._held = ""
        self._opening = not (inside or going_on)
        self._started = going_on

    def feed(self, text: str) -> tuple[str, str]:
        """New thought and new speech. What may become a mark is held back until it is decided."""
        self._held += text
        if self._opening:
            start = self._held.lstrip()
            if len(start) < len(THINK) and THINK.startswith(start):
                return "", ""
            self._opening = False
            self.inside = start.startswith(THINK)
            self._held = start[len(THINK) :] if self.inside else start
        thought = self._thought() if self.inside else ""
        return thought, "" if self.inside else self._take(len(self._held))

    def close(self) -> tuple[str, str]:
        """What was still held. `inside` tells whether the thought was cut."""
        rest = self._take(len(self._held))
        return (rest.rstrip(), "") if self.inside else ("", rest)

    def _thought(self) -> str:
        thought, found, speech = self._held.partition(END_THINK)
        if found:
            last = self._take(len(thought)).rstrip()
            self.inside, self._started, self._held = False, False, speech
            return last
        lengths = range(len(END_THINK) - 1, 0, -1)
        begun = next((length for length in lengths if self._held.endswith(END_THINK[:length])), 0)
        return self._take(len(self._held[: len(self._held) - begun].rstrip()))

    def _take(self, length: int) -> str:
        taken, self._held = self._held[:length], self._held[length:]
        if not self._started:
            taken = taken.lstrip()
            self._started = bool(taken)
        return taken
