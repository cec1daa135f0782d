"""Where an answer comes from, as the page shows it under the answer when it is asked for. Knows no dataset's form.

A visitor is told the verdict alone: the rows are the owner's.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from anime_ai.dataset.pages import Filter
from anime_ai.errors import AnimeAIError
from anime_ai.texts import text
from anime_ai.ui.editing import View
from anime_ai.ui.icons import icon
from anime_ai.ui.page import Page
from anime_ai.ui.persons import Person, person_of

if TYPE_CHECKING:
    from anime_ai.chat.provenance import Origin, Source
    from anime_ai.studio import Studio

LONGEST = 240
"""Characters of a row's answer that are shown."""

ASK = """
window.addEventListener("click", async (event) => {
  if (!element.isConnected || !(event.target instanceof Element)) return;
  const row = event.target.closest("[data-source-row]");
  if (row) { // the tab fills itself when it opens; what is shown in it comes after
    setTimeout(() => trigger("click", { row: row.dataset.sourceRow }), 400);
    return;
  }
  const pressed = event.target.closest("button[data-origin]");
  const message = pressed?.closest("[data-message]")?.querySelector(".message");
  if (!message) return;
  const there = message.querySelector(".origin");
  if (there) { there.remove(); return; }
  const box = document.createElement("div");
  box.className = "origin";
  box.textContent = "…";
  message.append(box);
  const answer = await fetch(`origin/${encodeURIComponent(pressed.dataset.origin)}`).catch(() => null);
  const told = answer ? await answer.text() : "";
  if (answer?.ok) box.innerHTML = told; else box.textContent = told || "…";
  box.scrollIntoView({ block: "nearest" });
});
"""
"""A press on the button under an answer asks for its origin, or folds it again."""


def origin_button(message_id: str, language: str) -> str:
    name = escape(text("origin.ask", language))
    return (
        f'<button type="button" data-origin="{escape(message_id)}" title="{name}" aria-label="{name}">'
        f"{icon('origin')}</button>"
    )


def origins_of(studio: Studio) -> list[Any]:
    """`/origin/<message id>`: the origin of an answer in a conversation of the person's own, as HTML."""
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, PlainTextResponse, Response
    from starlette.routing import Route

    def handed(request: Request) -> Response:
        person = person_of(request)
        try:
            told = origin_of(studio, person, request.path_params["id"])
        except AnimeAIError as error:
            return PlainTextResponse(error.say(person.language), status_code=404)
        return HTMLResponse(told, headers={"cache-control": "no-store"})

    return [Route("/origin/{id}", handed)]


def origin_of(studio: Studio, person: Person, message_id: str) -> str:
    """The origin of an answer as HTML. Raises AccessError for what is not this person's."""
    branches = studio.conversations.branches
    answer = branches.message(person.id, message_id)
    if answer.role != "assistant":
        raise AnimeAIError("chat.no_question")
    there = studio.conversations.get(person.id, branches.conversation_of(person.id, message_id))
    persona = answer.speaker or there.persona
    return shown(studio.provenance.of(answer, persona), answer.content, person)


def shown(found: Origin, answer: str, person: Person) -> str:
    """A verdict with its reason, and for the owner the rows."""
    language = person.language
    if not found.looked:
        return f"<p>{escape(text('origin.no_rows', language))}</p>"
    names = {
        "memorised": text("origin.memorised", language),
        "learned": text("origin.learned", language),
        "own": text("origin.own", language),
    }
    whys = {
        "memorised": text("origin.memorised.why", language, length=len(found.run)),
        "learned": text("origin.learned.why", language, length=len(found.run)),
        "own": text("origin.own.why", language),
    }
    parts = [f'<p class="{found.verdict}"><b>{escape(names[found.verdict])}</b>{escape(whys[found.verdict])}</p>']
    if found.run:
        before, after = escape(answer[: found.start]), escape(answer[found.end :])
        parts.append(f"<p>{before}<mark>{escape(found.run)}</mark>{after}</p>")
    if person.is_owner:
        parts.append(f"<ol>{''.join(_source(one, language) for one in found.sources)}</ol>" if found.sources else "")
        where = text("origin.looked", language, count=found.looked, dataset=found.dataset or "—")
        if not found.trained:
            where += text("origin.untrained", language)
        parts.append(f"<small>{escape(where)}</small>")
    return "".join(parts)


def _source(one: Source, language: str) -> str:
    said = one.said if len(one.said) <= LONGEST else one.said[:LONGEST] + "…"
    marked = escape(said)
    if one.shared and len(one.shared) > 1:
        marked = marked.replace(escape(one.shared), f"<mark>{escape(one.shared)}</mark>", 1)
    told = text("origin.overlap", language, share=f"{one.overlap:.0%}", length=len(one.shared))
    way = f"<i>{escape(text('origin.gone', language))}</i>"
    if one.row_id:
        way = (
            f'<button type="button" class="link" data-go="dataset rows" data-source-row="{escape(one.row_id)}">'
            f"{escape(text('origin.open', language))}</button>"
        )
    return f"<li><q>{escape(one.asked)}</q><span>{marked}</span><small>{escape(told)} {way}</small></li>"


class Origins:
    """What opens a row from the chat in the dataset tab. Its component shows nothing."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def open_source(self, person: Person, happened: gr.EventData) -> list[Any]:
        """The row in its dataset, and in the editor."""
        data = happened._data if isinstance(happened._data, dict) else {}
        row = self.studio.datasets.row(str(data.get("row", "")))
        view = View(self.studio.datasets.home(row.id), 1, Filter())
        return [*self.editing.shown(person, view, row.id), *self.editing.editor.shown(row, person.language)]

    def connect(self, page: Page, editing: Any) -> None:
        self.editing = editing
        self.listener = gr.HTML(elem_id="origins", js_on_load=ASK)
        outputs = [*editing.outputs, *editing.editor.outputs]
        page.on(self.listener.click, self.open_source, role="owner", event=True, outputs=outputs)
