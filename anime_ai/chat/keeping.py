"""An answer on its way into the conversation: kept while it grows, and whatever ends it. Knows no model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from typing import Any

from anime_ai.chat.conversations import Conversations
from anime_ai.chat.tree import Message
from anime_ai.errors import AnimeAIError
from anime_ai.knowledge.passages import Citation
from anime_ai.persona.tone import tone_of
from anime_ai.storage import new_id

SAVE_EVERY = 0.5
"""Seconds until an answer that is being written is saved, and again; one that is over sooner is saved at its end."""


@dataclass(frozen=True)
class Reply:
    """Her answer so far (not a delta). `stopped`: she did not come to the end; `cut`: it ended inside a thought.

    `cited`: when it is done, which stretches of it rest on which of the passages that she was given. `speaker`: who she
    is, among several; `problem`: why this one of them could not answer.
    """

    message_id: str
    text: str
    thinking: str = ""
    done: bool = False
    stopped: bool = False
    cut: bool = False
    tokens: int = 0
    cited: tuple[Citation, ...] = ()
    speaker: str = ""
    problem: AnimeAIError | None = None


class Keeping:
    """One answer behind the question `behind`; where it goes on, it grows in the message that was `begun`. `speaker`:
    whose it is, among several."""

    def __init__(
        self,
        conversations: Conversations,
        person: str,
        conversation_id: str,
        behind: str,
        meta: dict[str, Any],
        begun: Message | None = None,
        speaker: str = "",
    ) -> None:
        self.speaker = speaker
        self.conversations, self.person = conversations, person
        self.conversation_id, self.behind = conversation_id, behind
        self.meta = meta
        self.message_id = begun.id if begun else ""
        self._there = begun is not None
        self.old = begun
        self._before = (begun.content.rstrip(), begun.thinking.rstrip()) if begun else ("", "")
        self._saved = time.monotonic()
        self._thinking_since = 0.0
        self._thought_s = float(begun.meta.get("thought_s", 0.0)) if begun else 0.0

    def keep(
        self, pieces: Any, cite: Callable[[str], list[Citation]], adapter_sha: Callable[[], str]
    ) -> Iterator[Reply]:
        """The answer as it grows, out of a generator of `Spoken` totals. `adapter_sha` names what spoke."""
        total = None
        cited: list[Citation] = []
        try:
            for total in pieces:
                self._watch(total)
                if total.text or total.thinking:
                    self.message_id = self.message_id or new_id()
                    yield self._reply(total)
                    self._save(total)  # who reads waits for the next word anyway
        finally:
            pieces.close()
            if self.message_id and total is not None:
                text, thinking = self._joined(total)
                cited = cite(text)
                self._write(text, thinking, {**self._meta(total, cited, adapter_sha()), "feeling": tone_of(text)})
        if total is not None:
            yield replace(self._reply(total, done=True), cited=tuple(cited))

    def _joined(self, total: Any) -> tuple[str, str]:
        text, thinking = self._before
        return text + total.text, thinking + total.thinking if not text else thinking

    def _watch(self, total: Any) -> None:
        """How long she has thought: from the first word of the thought to the first of her speech."""
        now = time.monotonic()
        if total.thinking and not total.text:
            self._thinking_since = self._thinking_since or now
        elif self._thinking_since:
            self._thought_s += now - self._thinking_since
            self._thinking_since = 0.0

    def _save(self, total: Any) -> None:
        if time.monotonic() - self._saved > SAVE_EVERY:
            self._write(*self._joined(total))
            self._saved = time.monotonic()

    def _write(self, text: str, thinking: str, meta: dict[str, Any] | None = None) -> None:
        """Keep what there is; `meta`: how it came about, when it is over."""
        if self._there:
            self.conversations.update(self.person, self.message_id, text, thinking, meta)
            return
        said = Message(self.message_id, "assistant", text, thinking, meta or self.meta, speaker=self.speaker)
        self.conversations.add(self.person, self.conversation_id, said, self.behind, hasty=meta is None)
        self._there = True

    def _meta(self, total: Any, cited: list[Citation], adapter_sha: str) -> dict[str, Any]:
        """What is kept of how the answer came about, when it is over."""
        if self._thinking_since:
            self._thought_s += time.monotonic() - self._thinking_since
        old = self.old.meta if self.old else {}
        meta = {**self.meta, "done": total.ended, "tokens": total.tokens + int(old.get("tokens", 0))}
        meta |= {name: old[name] for name in ("edited",) if name in old}
        if adapter_sha:
            meta["adapter_sha256"] = adapter_sha
        if self._thought_s:
            meta["thought_s"] = round(self._thought_s, 1)
        if total.dropped:
            meta["dropped"] = total.dropped
        if total.cut:
            meta["cut"] = True
        if cited:
            meta["cited"] = [astuple(one) for one in cited]
        return meta

    def _reply(self, total: Any, done: bool = False) -> Reply:
        text, thinking = self._joined(total)
        told = reply_of(self.message_id, total, done)
        return replace(told, text=text, thinking=thinking, speaker=self.speaker)


def reply_of(message_id: str, total: Any, done: bool = False) -> Reply:
    return Reply(
        message_id,
        total.text,
        total.thinking,
        done=done,
        stopped=done and not total.ended,
        cut=done and total.cut,
        tokens=total.tokens,
    )
