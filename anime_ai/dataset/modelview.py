"""One row as a model reads it in training: token by token, and which of them carry loss. Knows no weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

from anime_ai.dataset.preprocess import encode_rows
from anime_ai.dataset.rows import Row
from anime_ai.errors import DatasetError
from anime_ai.persona.cards import Personas
from anime_ai.prompting import MASKED, Layout


@dataclass(frozen=True)
class Token:
    """A token's text and whether it is trained on. A character that several tokens make stands at the last of them."""

    text: str
    trained: bool


def tokens_of(row: Row, personas: Personas, layout: Layout, max_length: int) -> tuple[Token, ...]:
    """The row's tokens as preprocessing renders them, a draft too. Raises DatasetError for one that is too long."""
    encoded, _, _ = encode_rows([replace(row, draft=False)], personas, layout, max_length)
    if not encoded:
        raise DatasetError("dataset.all_too_long", rows=1, most=max_length)
    done = encoded[0]
    tokens: list[Token] = []
    waiting: list[int] = []
    for id, label in zip(done.ids, done.labels, strict=True):
        waiting.append(id)
        text = layout.tokenizer.decode(waiting, clean_up_tokenization_spaces=False)
        whole = not text.endswith("\ufffd")  # else the bytes of a character are not all there yet
        tokens.append(Token(text if whole else "", label != MASKED))
        if whole:
            waiting = []
    return tuple(tokens)
