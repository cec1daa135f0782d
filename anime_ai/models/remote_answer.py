"""What an OpenAI-compatible server says, as the pieces of an answer: text, thought, likelihoods, how it ended.

Knows no connection and no prompt's making.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from anime_ai.models.engine import Likelihood, Piece
from anime_ai.models.text_stream import StopTexts
from anime_ai.prompting import END_THINK, THINK

CUT = ("length", "content_filter", "abort", "error")
"""Reasons for which an answer ends that are not its own end."""
_TALKATIVE = 8
"""Events a token: beyond that the server does not keep to the number of tokens that it was asked for."""


class Thoughts:
    """Thought and speech, which servers tell apart in several ways, as a prompt of ours would have it answered.

    `opens`: the prompt ends inside a thought. A thought that the server writes into the text stays as it is.
    """

    def __init__(self, opens: bool) -> None:
        self._opens = opens
        self._place = "start"
        self._held = ""

    def feed(self, thought: str, speech: str) -> str:
        said = ""
        if thought and self._place in ("start", "thought"):
            said = ("" if self._opens or self._place == "thought" else f"{THINK}\n") + thought
            self._place = "thought"
        if speech and self._place == "thought":
            said += f"\n{END_THINK}\n\n"
            self._place = "speech"
        if speech and self._place == "start":
            return said + self._begin(speech)
        return said + speech

    def close(self) -> str:
        """What was still held back; a thought that was to come and did not is closed."""
        held, self._held = self._held, ""
        return f"\n{END_THINK}\n\n{held}" if self._place == "start" and self._opens and held else held

    def _begin(self, speech: str) -> str:
        """The first words of a text: a thought of its own, or speech."""
        if not self._opens:
            self._place = "speech"
            return speech
        self._held += speech
        start = self._held.lstrip()
        if len(start) < len(THINK) and THINK.startswith(start):
            return ""
        self._place, self._held = "speech", ""
        return start[len(THINK) :] if start.startswith(THINK) else f"\n{END_THINK}\n\n{start}"


def pieces(
    events: Iterable[dict[str, Any]], marks: tuple[str, ...], thoughts: Thoughts | None, most: int, best: int | None
) -> Iterator[Piece]:
    """Pieces of the answer that `events` tell, up to the first of `marks`, or to far more events than `most` tokens.

    `thoughts` where messages were answered, not a rendered text. `best`: rivals of every token that were asked for.
    """
    words, counted, said, reason = StopTexts(marks), 0, 0, ""
    for event in events:
        usage = event.get("usage")
        made = usage.get("completion_tokens") if isinstance(usage, dict) else None
        if isinstance(made, int) and not isinstance(made, bool) and counted < made <= _TALKATIVE * most:
            yield Piece("", untold=made - counted)
            counted = made
        choices = event.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            continue
        choice = choices[0]
        reason = str(choice.get("finish_reason") or reason)
        thought, speech = _said(choice)
        text = thoughts.feed(thought, speech) if thoughts else speech
        if thought or speech:
            said += 1
            told = tuple(_likelihoods(choice.get("logprobs"), best)) if best is not None else ()
            new = 1 if made is None else 0
            yield Piece(words.feed(text), likelihoods=told, untold=new)
            counted += new
        if words.stopped:
            yield Piece("", ended=True)
            return
        if said > _TALKATIVE * most:
            reason = CUT[0]
            break
    rest = words.feed(thoughts.close() if thoughts else "") + words.close()
    yield Piece(rest, ended=reason not in CUT)


def _said(choice: dict[str, Any]) -> tuple[str, str]:
    """Thought and speech of a choice, of a stream or whole, of either route."""
    inner = choice.get("delta") or choice.get("message") or {}
    if not isinstance(inner, dict):
        return "", ""
    thought = inner.get("reasoning_content") or inner.get("reasoning")
    speech = inner.get("content") or choice.get("text")
    return thought if isinstance(thought, str) else "", speech if isinstance(speech, str) else ""


def _likelihoods(told: Any, best: int) -> Iterator[Likelihood]:
    """Of both forms: a list of tokens (chat), and lists side by side (the older completions)."""
    if not isinstance(told, dict):
        return
    if isinstance(told.get("content"), list):
        for one in told["content"]:
            if isinstance(one, dict):
                rivals = [other for other in one.get("top_logprobs") or [] if isinstance(other, dict)]
                yield _likelihood(one, tuple(_likelihood(other) for other in rivals[:best]))
        return
    columns = [told.get(name) or [] for name in ("tokens", "token_logprobs", "top_logprobs")]
    for place, (token, logprob) in enumerate(zip(columns[0], columns[1], strict=False)):
        named = columns[2][place] if place < len(columns[2]) else None
        ranked = sorted((named or {}).items(), key=lambda pair: -pair[1])[:best]
        yield Likelihood(None, str(token), float(logprob), tuple(Likelihood(None, *pair) for pair in ranked))


def _likelihood(one: dict[str, Any], best: tuple[Likelihood, ...] = ()) -> Likelihood:
    number, logprob = one.get("id"), one.get("logprob")
    return Likelihood(
        number if isinstance(number, int) else None,
        str(one.get("token", "")),
        float(logprob) if isinstance(logprob, (int, float)) else float("-inf"),
        best,
    )
