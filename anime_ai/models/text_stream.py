"""An answer's text as it comes: never half a character, and nothing of what ends it. Knows no model.

A small model may write bytes that make no character: they are left out.
"""

from __future__ import annotations

from typing import Any

REPLACEMENT = "\ufffd"
"""What stands in a decoded text for bytes that make no character."""


class StopTexts:
    """Text up to the first of some marks, however it is cut. What may become a mark is held back."""

    def __init__(self, marks: tuple[str, ...]) -> None:
        self.marks = tuple(mark for mark in marks if mark)
        self.stopped = False
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be shown by now."""
        if self.stopped:
            return ""
        text = self._held + text
        places = [place for place in (text.find(mark) for mark in self.marks) if place >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)]
        end = len(text) - self._open(text)
        self._held = text[end:]
        return text[:end]

    def close(self) -> str:
        """What was still held back."""
        held, self._held = self._held, ""
        return held

    def _open(self, text: str) -> int:
        """How many characters at the end may be the beginning of a mark."""
        longest = max((len(mark) for mark in self.marks), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(mark.startswith(text[-length:]) for mark in self.marks):
                return length
        return 0


class TextStream:
    """Token ids to text, up to the first stop text."""

    def __init__(self, tokenizer: Any, stop_texts: tuple[str, ...]) -> None:
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self.given = 0
        self.text = ""
        self._words = StopTexts(stop_texts)

    @property
    def stopped(self) -> bool:
        return self._words.stopped

    def feed(self, token: int) -> str:
        self.ids.append(token)
        self.text = self.tokenizer.decode(self.ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        # Half a character decodes to REPLACEMENT; the rest of it may come.
        return "" if self.text.endswith(REPLACEMENT) else self._words.feed(self._new(self.text))

    def close(self) -> str:
        """What is still held back."""
        return self._words.feed(self._new(self.text)) + self._words.close()

    def _new(self, text: str) -> str:
        new = text[self.given :]
        self.given = max(self.given, len(text))
        return new.replace(REPLACEMENT, "")
