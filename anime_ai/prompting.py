"""Dialogues to tokens and back: the one renderer that training and chat share.

A prompt is append-only, so that key/value caches survive from turn to turn: card, examples (together the shared part),
facts about the user, greeting, history, question; what a turn brings along (lore, passages, an observation) stands
inside that user's turn, before the question, and stays there. Knows a tokenizer's interface, not a model's weights.

Every mark is encoded on its own and all text between marks is neutralised first, so that nothing a person types can
become a control token, and the chat-time prompt is a token prefix of the training row by construction.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from anime_ai.errors import PromptError

Policy = Literal["silent", "inner", "open"]
POLICIES: tuple[Policy, ...] = ("silent", "inner", "open")
MASKED = -100
"""The label of a token that carries no loss (the convention of torch's cross entropy)."""

THINK, END_THINK = "<think>", "</think>"
SILENT = f"{THINK}\n\n{END_THINK}\n\n"


@dataclass(frozen=True)
class Format:
    """What stands before and after each role's text. `end` closes an answer and is trained."""

    system: tuple[str, str]
    user: tuple[str, str]
    assistant: str
    end: str
    between: str = ""
    thinks: bool = True


FORMATS: dict[str, Format] = {
    # The published template of DeepSeek-R1-Distill-Qwen.
    "deepseek-r1": Format(("", ""), ("<｜User｜>", ""), "<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
    "chatml": Format(
        ("<|im_start|>system\n", "<|im_end|>\n"),
        ("<|im_start|>user\n", "<|im_end|>\n"),
        "<|im_start|>assistant\n",
        "<|im_end|>",
        between="\n",
    ),
    # The original project's layout, taken literally: ChatML after a renderer ate its marks.
    "seed": Format(
        ("<think>system\n", "</tool_call>\n"),
        ("<think>user\n", "</tool_call>\n"),
        "assistant\n",
        "</tool_response>",
        between="\n",
        thinks=False,
    ),
}

KNOWN_MARKS = (
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", THINK, END_THINK, "<tool_call>", "</tool_call>"),
    *("<tool_response>", "</tool_response>", "<｜User｜>", "<｜Assistant｜>"),
    *("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
)
"""Control sequences that nobody's text may hold, whatever the vocabulary."""


@dataclass(frozen=True)
class Exchange:
    """One finished turn: what the user said, what she answered, and what the turn brought along."""

    user: str
    reply: str
    brought: str = ""


@dataclass(frozen=True)
class Dialogue:
    """The slots of a prompt, in the order in which they are rendered. Empty ones leave no trace.

    `begun`: the beginning of the answer, which goes on from there; `thought`: that of a thought that has not ended.
    """

    card: str = ""
    examples: tuple[Exchange, ...] = ()
    facts: str = ""
    greeting: str = ""
    history: tuple[Exchange, ...] = ()
    question: str = ""
    brought: str = ""
    begun: str = ""
    thought: str = ""


@dataclass(frozen=True)
class Prompt:
    """Token ids that end where the answer begins; the first `shared` of them are the card and its examples.

    `messages` say the same to a server that takes no tokens; `dropped` exchanges did not fit. The answer is over at one
    of `stop_ids` or before one of `stop_texts`; it begins inside a thought where `opens_thought`.
    """

    ids: tuple[int, ...]
    shared: int
    messages: tuple[dict[str, str], ...]
    stop_ids: frozenset[int]
    stop_texts: tuple[str, ...] = ()
    opens_thought: bool = False
    dropped: int = 0


@dataclass(frozen=True)
class TrainingRow:
    """Token ids and labels of equal length (`MASKED` where there is no loss); `dropped` exchanges did not fit."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    dropped: int = 0

    @property
    def trained(self) -> int:
        return sum(label != MASKED for label in self.labels)


@dataclass(frozen=True)
class _Piece:
    """A stretch of tokens and its text; `mark` where the layout wrote it, not a person."""

    ids: tuple[int, ...]
    text: str
    mark: bool


class Layout:
    """A format and a think policy on one tokenizer.

    `silent` prefills an empty think block; `inner` trains the row's inner monologue as thought; `open` lets the model
    think freely. In the history each answer stands behind the empty block, whatever the policy: old thoughts never
    come back. Raises PromptError when `auto` finds neither DeepSeek's nor ChatML's marks in the vocabulary.
    """

    def __init__(self, tokenizer: Any, format: str = "auto", think: str = "silent") -> None:
        added = tokenizer.get_added_vocab()
        if format == "auto":
            format = own_format(added)
        if format not in FORMATS or think not in POLICIES:
            raise PromptError("prompt.unknown_layout", format=format, think=think)
        self.tokenizer = tokenizer
        self.format = format
        self.think: Policy = think  # type: ignore[assignment]
        self._form = FORMATS[format]
        control = {mark for mark in added if mark in tokenizer.all_special_tokens or not _is_words(mark)}
        self._control_ids = frozenset(added[mark] for mark in control)
        self._marks = re.compile("|".join(re.escape(mark) for mark in sorted({*control, *KNOWN_MARKS}, reverse=True)))
        self._cache: dict[str, tuple[int, ...]] = {}
        thinks = self._form.thinks and THINK in added
        self._silent = SILENT if thinks else ""
        self._opening = f"{THINK}\n" if thinks or think == "inner" else ""
        end = self._encode(self._form.end)
        single = len(end) == 1 and end[0] in self._control_ids
        if tokenizer.eos_token_id is None:
            raise PromptError("prompt.no_end_token")
        self._end = end if single else (*end, tokenizer.eos_token_id)
        # Some tokenizers name a mark of the format as their begin token (<|im_start|>): it stands there already.
        begin = tokenizer.bos_token_id
        form = self._form
        marks = "".join((*form.system, *form.user, form.assistant, form.end))
        self._begin = () if begin is None or tokenizer.bos_token in marks else (begin,)

    @property
    def stop_ids(self) -> frozenset[int]:
        """The ids at which an answer is over: its end, and the mark of the next turn, should the end be left out."""
        opener = [id for id in self._encode(self._form.user[0])[:1] if id in self._control_ids]
        return frozenset({self._end[-1], self.tokenizer.eos_token_id, *opener})

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """The end mark where it is written out in ordinary tokens, so that it is no part of the answer."""
        return (self._form.end,) if len(self._end) > 1 else ()

    @property
    def opens_thought(self) -> bool:
        """Whether the prompt ends inside a thought, so that the answer's text begins with the rest of it."""
        return self.think != "silent" and bool(self._opening)

    @property
    def marks(self) -> tuple[str, str, str, str]:
        """What a prompt begins with, what stands before an old answer and before the new one, and behind each."""
        opening = self._silent if self.think == "silent" else self._opening
        return self.decode(self._begin), self._silent, opening, self.decode(self._end)

    def fingerprint(self) -> str:
        """A hash of what this layout writes around the text, to notice that a model was trained on another one."""
        probe = Dialogue("C", (Exchange("a", "b"),), "F", "G", (Exchange("u", "r", "t"),), "q", "w")
        form = self._form
        marks = (form.system, form.user, form.assistant, form.end, form.between, self._silent, self._opening)
        brought = (_user_text("q", "w"), passages(["p", "q"]), observation("o"))
        written = repr((self.format, self.think, marks, self._system_texts(probe), brought))
        return hashlib.sha256(written.encode()).hexdigest()[:16]

    def clean(self, text: str) -> str:
        """`text` as it is rendered: NFC, plain line ends, control sequences inert by a full-width first character.

        A lone surrogate, which no tokenizer takes, becomes U+FFFD.
        """
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
        return self._marks.sub(lambda found: inert(found.group()), text)

    def prompt(self, dialogue: Dialogue, budget: int | None = None) -> Prompt:
        """The prompt of `dialogue.question`, within `budget` tokens.

        Where the history does not fit it is cut once to half of its room, not turn by turn, so that the beginning of
        the prompt stays the same for many turns. Raises PromptError when even an empty history does not fit.
        """
        shared, head = self._head(dialogue)
        turns = [self._exchange(exchange) for exchange in dialogue.history]
        going_on = dialogue.begun or (self._opening and dialogue.thought)
        opening = self._going_on(dialogue) if going_on else self._answer_opening()
        tail = [*self._user(dialogue.question, dialogue.brought), *opening]
        first = 0
        if budget is not None:
            fixed = _length(head) + _length(tail)
            if fixed > budget:
                raise PromptError("prompt.too_long", tokens=fixed, most=budget)
            answer = _length(self._answer_opening())
            tails = [_length(self._user(said.user, said.brought)) + answer for said in dialogue.history]
            costs = [_length(turn) for turn in turns]
            first = _first_kept(costs, [*tails, _length(tail)], budget - _length(head))
        pieces = [*head, *(piece for turn in turns[first:] for piece in turn), *tail]
        return Prompt(
            _join(pieces),
            shared,
            self._messages(dialogue, first),
            self.stop_ids,
            self.stop_texts,
            not dialogue.begun if going_on else self.opens_thought,
            dropped=first,
        )

    def training_row(
        self, dialogue: Dialogue, answer: str, inner: str = "", max_length: int | None = None
    ) -> TrainingRow:
        """The row that teaches `answer`: the loss is on the answer, its end token, and under `inner` the thought.

        The oldest exchanges go first where the row is over `max_length` tokens; PromptError when that is not enough.
        """
        _, head = self._head(dialogue)
        turns = [self._exchange(exchange) for exchange in dialogue.history]
        tail = [*self._user(dialogue.question, dialogue.brought), *self._answer_opening()]
        masked, trained = self._answer(answer, inner)
        fixed = _length(head) + _length(tail) + _length(masked) + _length(trained)
        first = 0
        if max_length is not None:
            while first < len(turns) and fixed + sum(_length(turn) for turn in turns[first:]) > max_length:
                first += 1
            if fixed > max_length:
                raise PromptError("prompt.row_too_long", tokens=fixed, most=max_length)
        context = _join([*head, *(piece for turn in turns[first:] for piece in turn), *tail, *masked])
        target = _join(trained)
        return TrainingRow(context + target, (MASKED,) * len(context) + target, dropped=first)

    def check(self, dialogue: Dialogue, answer: str, inner: str, row: TrainingRow) -> None:
        """The training contract of one row; raises PromptError that says which clause is broken.

        The chat-time prompt is a token prefix of the row and masked, there is exactly one begin token, something is
        trained and as it stands, the end token is inside the loss, no control token stands in anybody's text, every
        text reads back out of its tokens, and the trained tokens read back as the answer.
        """
        kept = replace(dialogue, history=dialogue.history[row.dropped :])
        prompt = self.prompt(kept).ids
        if row.ids[: len(prompt)] != prompt or any(label != MASKED for label in row.labels[: len(prompt)]):
            raise PromptError("prompt.contract", clause="prefix")
        begin = self._begin
        if row.ids[: len(begin)] != begin or (begin and begin[0] not in self.stop_ids and begin[0] in row.ids[1:]):
            raise PromptError("prompt.contract", clause="begin")
        same = all(label in (MASKED, token) for token, label in zip(row.ids, row.labels, strict=False))
        if not row.trained or not same or len(row.ids) != len(row.labels):
            raise PromptError("prompt.contract", clause="trained")
        if row.labels[-len(self._end) :] != self._end:
            raise PromptError("prompt.contract", clause="end")
        pieces = self._all_pieces(kept, answer, inner)
        written = [token for piece in pieces if piece.mark for token in piece.ids if token in self._control_ids]
        if [token for token in row.ids if token in self._control_ids] != written:
            raise PromptError("prompt.contract", clause="control")
        said = [label for label in row.labels if label != MASKED][: -len(self._end)]
        expected = self.clean(answer)
        if self.think == "inner":
            expected = f"{self.clean(inner)}\n{END_THINK}\n\n{expected}"
        texts = [(piece.ids, piece.text) for piece in pieces if not piece.mark]
        if any(self.decode(ids) != text for ids, text in [*texts, (said, expected)]):
            raise PromptError("prompt.contract", clause="text")

    def length(self, text: str) -> int:
        """The tokens that a text takes in a prompt."""
        return len(self._text(text).ids)

    def decode(self, ids: Iterable[int]) -> str:
        """Tokens to text, control tokens included."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def _all_pieces(self, dialogue: Dialogue, answer: str, inner: str) -> list[_Piece]:
        turns = [piece for exchange in dialogue.history for piece in self._exchange(exchange)]
        tail = [*self._user(dialogue.question, dialogue.brought), *self._answer_opening()]
        masked, trained = self._answer(answer, inner)
        return [*self._head(dialogue)[1], *turns, *tail, *masked, *trained]

    def _encode(self, text: str) -> tuple[int, ...]:
        known = self._cache.get(text)
        if known is None:
            known = tuple(self.tokenizer.encode(text, add_special_tokens=False)) if text else ()
            if len(self._cache) > 4096:
                self._cache.clear()
            self._cache[text] = known
        return known

    def _mark(self, text: str) -> _Piece:
        return _Piece(self._encode(text), text, mark=True)

    def _text(self, text: str, before: str = "") -> _Piece:
        """What a person wrote. Raises PromptError where the tokenizer still reads a control token in it."""
        text = before + self.clean(text)
        ids = self._encode(text)
        if not self._control_ids.isdisjoint(ids):
            raise PromptError("prompt.contract", clause="control")
        return _Piece(ids, text, mark=False)

    def _end_piece(self) -> _Piece:
        return _Piece(self._end, self._form.end, mark=True)

    def _system_texts(self, dialogue: Dialogue) -> list[str]:
        """Card, examples and facts, those that are not empty; each but the first opens with a blank line."""
        return [dialogue.card, examples(dialogue.examples), dialogue.facts]

    def _head(self, dialogue: Dialogue) -> tuple[int, list[_Piece]]:
        """Length of the shared part, and the pieces up to the history."""
        pieces = [_Piece(self._begin, self.tokenizer.bos_token or "", mark=True)]
        shared = _length(pieces)
        texts = self._system_texts(dialogue)
        if any(texts):
            pieces.append(self._mark(self._form.system[0]))
            started = False
            for place, text in enumerate(texts):
                if text:
                    pieces.append(self._text(text, before="\n\n" if started else ""))
                    started = True
                if place == 1 and started:
                    shared = _length(pieces)
            pieces.append(self._mark(self._form.system[1]))
        if dialogue.greeting:
            pieces.extend(self._reply(dialogue.greeting))
        return shared, pieces

    def _user(self, question: str, brought: str) -> list[_Piece]:
        before, after = self._form.user
        return [self._mark(before), self._text(_user_text(question, brought)), self._mark(after)]

    def _reply(self, reply: str) -> list[_Piece]:
        opening = [self._mark(self._form.assistant), self._mark(self._silent)]
        return [*opening, self._text(reply), self._end_piece(), self._mark(self._form.between)]

    def _exchange(self, exchange: Exchange) -> list[_Piece]:
        return [*self._user(exchange.user, exchange.brought), *self._reply(exchange.reply)]

    def _answer_opening(self) -> list[_Piece]:
        return [self._mark(self._form.assistant), self._mark(self._silent if self.think == "silent" else self._opening)]

    def _going_on(self, dialogue: Dialogue) -> list[_Piece]:
        """The opening of an answer and what stands of it already."""
        before, text = (self._silent, dialogue.begun) if dialogue.begun else (self._opening, dialogue.thought)
        return [self._mark(self._form.assistant), self._mark(before), self._text(text)]

    def _answer(self, answer: str, inner: str) -> tuple[list[_Piece], list[_Piece]]:
        """What follows the chat-time prompt: masked pieces, then trained ones."""
        closing = self._mark(f"\n{END_THINK}\n\n")
        spoken = [self._text(answer), self._end_piece()]
        if self.think == "inner":
            return [], [self._text(inner), closing, *spoken]
        # Under `open` the model's own way of thinking is not for a persona's row to teach: an empty thought, masked.
        return ([closing] if self.opens_thought else []), spoken

    def _messages(self, dialogue: Dialogue, first: int) -> tuple[dict[str, str], ...]:
        system = "\n\n".join(self.clean(text) for text in self._system_texts(dialogue) if text)
        said = [("system", system), ("assistant", self.clean(dialogue.greeting))]
        for exchange in dialogue.history[first:]:
            said.append(("user", self.clean(_user_text(exchange.user, exchange.brought))))
            said.append(("assistant", self.clean(exchange.reply)))
        said.append(("user", self.clean(_user_text(dialogue.question, dialogue.brought))))
        said.append(("assistant", self.clean(dialogue.begun)))
        return tuple({"role": role, "content": content} for role, content in said if content)


def own_format(added: Iterable[str]) -> str:
    """The format whose marks a vocabulary has. Raises PromptError when it has none."""
    added = set(added)
    for name, mark in (("deepseek-r1", "<｜Assistant｜>"), ("chatml", "<|im_start|>")):
        if mark in added:
            return name
    raise PromptError("prompt.no_own_format")


def examples(exchanges: Iterable[Exchange]) -> str:
    """Dialogues that show how she speaks, as they stand behind the card; "" for none."""
    told = "\n".join(f"用户：{one.user}\n你：{one.reply}" for one in exchanges)
    return f"对话示例：\n{told}" if told else ""


def lore(texts: Iterable[str]) -> str:
    """What a turn brings along from lorebooks: each entry on a line of its own."""
    return "\n".join(f"【设定】{text}" for text in texts)


def passages(texts: Iterable[str]) -> str:
    """What a turn brings along from documents: each passage on a line behind its number."""
    return "\n".join(f"【资料{number}】{text}" for number, text in enumerate(texts, 1))


def observation(text: str) -> str:
    """What a turn brings along from a picture: what is seen in it, in words."""
    return f"【图片】{text}"


def _user_text(question: str, brought: str) -> str:
    return f"{brought}\n\n{question}" if brought else question


def inert(mark: str) -> str:
    """A control sequence with its first character made full-width; it reads the same and is none any more."""
    first = mark[0]
    return (chr(ord(first) + 0xFEE0) if "!" <= first <= "~" else f"{first}\u2060") + mark[1:]


def _is_words(token: str) -> bool:
    """Whether an added token is only letters or blank space, such as a name that somebody added to the vocabulary."""
    return all(character.isalnum() or character.isspace() or character in "_\u2581" for character in token)


def _length(pieces: Iterable[_Piece]) -> int:
    return sum(len(piece.ids) for piece in pieces)


def _join(pieces: Iterable[_Piece]) -> tuple[int, ...]:
    return tuple(token for piece in pieces for token in piece.ids)


def _first_kept(costs: Sequence[int], tails: Sequence[int], room: int) -> int:
    """The first exchange to keep. Exchange n takes `costs[n]` tokens, turn n asked for its answer with `tails[n]`.

    Every turn is decided again as it was decided then, so that a cut, once made, stands until room runs out again.
    """
    first = total = 0
    for turn, tail in enumerate(tails):
        if total + tail > room:
            while first < turn and (total > room // 2 or total + tail > room):
                total -= costs[first]
                first += 1
        if turn < len(costs):
            total += costs[turn]
    return first
