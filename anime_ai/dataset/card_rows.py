"""What a card says as an example, as training rows: its dialogues and its greetings. Knows no dataset's storage."""

from __future__ import annotations

from anime_ai.dataset.rows import MAX_CELL, Row
from anime_ai.persona.cards import Persona
from anime_ai.persona.telling import examples_of, greetings_of, language_of

TAG = "角色卡"
OPENING = {"zh": "你好。", "ja": "こんにちは。", "en": "Hello."}
"""What is said before a greeting: a row has to answer something."""


def card_rows(persona: Persona) -> list[Row]:
    """A row for every answer of the card's example dialogues, behind what was said before it, and for every greeting.

    Texts that no cell takes are left out.
    """
    card = persona.card
    if card is None:
        return []
    made: list[Row] = []
    for dialogue in examples_of(card):
        for place, one in enumerate(dialogue):
            history = tuple((before.user, before.reply) for before in dialogue[:place])
            made.append(Row(one.user, one.reply, persona.name, history=history, tags=(TAG,)))
    opening = OPENING[language_of(card)]
    made += [Row(opening, greeting, persona.name, tags=(TAG,)) for greeting in greetings_of(card)]
    return [row for row in made if max(len(row.input), len(row.output)) <= MAX_CELL]
