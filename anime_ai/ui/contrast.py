"""The same question with the same seed to two of whatever can answer, on one engine or two, side by side; the better
one can be picked.

Knows no prompt. What the columns say is kept on the server until it is picked, so that a pick is of what was said.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.chat.beside import Beside
from anime_ai.chat.feedback import Said
from anime_ai.errors import AccessError, AnimeAIError
from anime_ai.texts import text
from anime_ai.ui.card_routes import who_asks
from anime_ai.ui.generations import ANSWERS, Generations, paced
from anime_ai.ui.labels import label
from anime_ai.ui.page import Page, chooser, note
from anime_ai.ui.persons import Person
from anime_ai.ui.sampling_form import SamplingForm
from anime_ai.ui.talking import MOST_CHARACTERS, checked

if TYPE_CHECKING:
    from anime_ai.studio import Studio

SIDES = ("left", "right")
ENGINES = {"transformers": "transformers", "llamacpp": "llama.cpp", "remote": "OpenAI API"}
"""Names of engines as people know them."""


class Contrast:
    """Handlers, and the components after `build`."""

    def __init__(self, studio: Studio, generations: Generations) -> None:
        self.studio, self.generations = studio, generations
        self.beside = Beside(lambda: studio.chat)

    def sides(self, person: Person, persona: str, adapter: str, left: Any = None, right: Any = None) -> list[Any]:
        """Updates of both choosers: what they show where it is still there, else the base and what answers."""
        chat = self.studio.chat
        offered = [*chat.adapters(persona, who_asks(person)), *(chat.checkpoints(persona) if person.is_owner else [])]
        choices = []
        for one in offered:
            key = "ui.chat.adapter" if one.id else "ui.chat.base_alone"
            choices.append((text(key, person.language, label=one.label, persona=one.persona or "—"), one.id))
        known = [id for _, id in choices]
        right = right if right in known else (adapter if adapter in known else known[0])
        left = left if left in known and left != right else ("" if right else known[0])
        return [gr.update(choices=choices, value=left), gr.update(choices=choices, value=right)]

    def offer_sides(self, person: Person, persona: str, adapter: str, left: Any, right: Any) -> list[Any]:
        return self.sides(person, str(persona or ""), str(adapter or ""), left, right)

    def offer_engines(self, person: Person) -> list[Any]:
        """Updates of the engines of both sides, where there are two to choose from."""
        names = self.beside.names()
        choices = [(text("compare.engine.same", person.language), ""), *((ENGINES[name], name) for name in names)]
        return [gr.update(choices=choices, visible=len(names) > 1) for _ in SIDES]

    def compare(
        self,
        person: Person,
        message: str,
        persona: str,
        left: str,
        right: str,
        left_engine: str,
        right_engine: str,
        *knobs: Any,
    ) -> Iterator[list[Any]]:
        """One question with one seed to both sides: updates of the answers, of two buttons, of what can be picked, and
        of the picks."""
        sampling = SamplingForm.of(knobs)
        if sampling.seed is None:
            sampling = replace(sampling, seed=random.randrange(2**31))
        asked, ids = checked(str(message or "").strip()), (str(left or ""), str(right or ""))
        engines = self._engines(person, ids, (str(left_engine or ""), str(right_engine or "")))
        if len(set(zip(ids, engines, strict=True))) == 1:
            raise AnimeAIError("compare.same_sides")
        names = [self.studio.chat.answering(id, person.language, who_asks(person)).label for id in ids]
        answers = ["", ""]
        told: dict[str, Any] = {"persona": str(persona), "question": asked, "answers": answers}

        def step(busy: bool, picks: bool = False) -> list[Any]:
            shown = _two(names, answers, sampling.seed, person.language)
            buttons = [gr.update(visible=not busy), gr.update(visible=busy)]
            return [shown, *buttons, told if picks else {}, gr.update(visible=picks)]

        with self.generations.one(f"compare:{person.id}", person.session) as stop:
            try:
                yield step(True)
                for place, id in enumerate(ids):
                    with self.beside.on(engines[place], id) as chat:
                        if len(set(engines)) > 1:
                            told_by = chat.answering(id, person.language)
                            engine = "" if told_by.loaded else f" · {ENGINES[engines[place]]}"  # a loaded one is named
                            names[place] = told_by.label + engine
                            yield step(True)
                        for reply in paced(chat.ask(asked, str(persona), id, sampling, stop, who_asks(person))):
                            answers[place] = reply.text
                            yield step(True)
            except Exception:
                yield step(False)
                raise
        drawn = {name: value for name, value in asdict(sampling).items() if isinstance(value, (int, float))}
        for id, engine in zip(ids, engines, strict=True):
            choice = self.studio.chat.choice(id)
            one = {"adapter": id, "base": choice.base, "adapter_sha256": choice.fingerprint(), "engine": engine}
            told.setdefault("provenance", []).append({**one, "seed": sampling.seed, "sampling": drawn})
        yield step(False, picks=all(one.strip() for one in answers))

    def _engines(self, person: Person, ids: tuple[str, str], wanted: tuple[str, str]) -> list[str]:
        """The names of both engines. Only the owner may load a second model onto the machine."""
        if any(wanted) and not person.is_owner:
            raise AccessError("ui.owner_only")
        return [name or self.beside.current(id) for id, name in zip(ids, wanted, strict=True)]

    def stop_comparing(self, person: Person) -> None:
        self.generations.stop(f"compare:{person.id}")

    def pick_left(self, person: Person, told: Any) -> list[Any]:
        return self._pick(person, told, 0)

    def pick_right(self, person: Person, told: Any) -> list[Any]:
        return self._pick(person, told, 1)

    def _pick(self, person: Person, told: Any, better: int) -> list[Any]:
        """Keep a pick, once: updates of what can be picked and of the picks."""
        if not isinstance(told, dict) or len(told.get("answers", ())) != 2 or "provenance" not in told:
            raise AnimeAIError("compare.nothing")
        said = [Said(*one) for one in zip(told["answers"], told["provenance"], strict=True)]
        self.studio.feedback.agree(person.id)  # the notice stands beside the buttons
        self.studio.feedback.pick(person.id, told["persona"], told["question"], said[better], said[1 - better])
        note(text("compare.kept", person.language), person.language)
        return [{}, gr.update(visible=False)]

    # Components.

    def build(self) -> None:
        self.told = gr.State({})
        with gr.Row(equal_height=True):
            self.left = chooser(label=label("compare.left"), min_width=140, elem_id="compare-left")
            self.right = chooser(label=label("compare.right"), min_width=140, elem_id="compare-right")
        with gr.Row(equal_height=True):
            same = [(label("compare.engine.same"), "")]
            shape = {"choices": same, "value": "", "min_width": 140, "visible": False}
            self.engines = [chooser(label=label("compare.engine"), elem_id=f"engine-{side}", **shape) for side in SIDES]
        self.answers = gr.HTML(f'<p class="empty">{label("ui.compare.empty")}</p>', elem_id="answers")
        with gr.Column(visible=False, elem_id="picks") as self.picks:
            with gr.Row(equal_height=True):
                self.left_button = gr.Button(label("compare.better_left"), size="sm", elem_id="pick-left")
                self.right_button = gr.Button(label("compare.better_right"), size="sm", elem_id="pick-right")
            gr.HTML(f'<div class="who">{label("compare.notice")}</div>')
        with gr.Row(equal_height=True, elem_id="compare-say"):
            self.question = gr.Textbox(
                show_label=False,
                label=label("ui.chat.message"),
                placeholder=label("ui.compare.placeholder"),
                lines=1,
                max_lines=4,
                max_length=MOST_CHARACTERS,
                scale=8,
                min_width=160,
                container=False,
                elem_id="question",
            )
            self.ask_button = gr.Button(
                label("ui.compare.ask"), variant="primary", scale=1, min_width=100, elem_id="ask"
            )
            self.halt_button = gr.Button(label("ui.chat.stop"), variant="stop", scale=1, min_width=100, visible=False)

    def connect(self, page: Page, tab: Any, persona: Any, adapter: Any, knobs: list[Any]) -> None:
        sides, picked = [self.left, self.right], [self.told, self.picks]
        page.on(tab.select, self.offer_sides, role="visitor", inputs=[persona, adapter, *sides], outputs=sides)
        page.on(tab.select, self.offer_engines, role="owner", quiet=True, outputs=self.engines)
        page.on(
            [self.question.submit, self.ask_button.click],
            self.compare,
            role="visitor",
            inputs=[self.question, persona, *sides, *self.engines, *knobs],
            outputs=[self.answers, self.ask_button, self.halt_button, *picked],
            **ANSWERS,
        )
        page.on(self.halt_button.click, self.stop_comparing, role="visitor")
        for button, pick in ((self.left_button, self.pick_left), (self.right_button, self.pick_right)):
            page.on(button.click, pick, role="visitor", writes=True, inputs=[self.told], outputs=picked)


def _two(names: list[str], answers: list[str], seed: int | None, language: str) -> str:
    """Both answers as two cards; text only, nothing in it is markup."""
    said = escape(text("compare.seed", language, seed=seed))
    cards = "".join(
        f"<div><h3>{escape(name)}</h3><p>{escape(answer or '…')}</p><small>{said}</small></div>"
        for name, answer in zip(names, answers, strict=True)
    )
    return f'<div class="two">{cards}</div>'
