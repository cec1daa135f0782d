"""The route that hands a person a conversation of theirs as a file; no shared cache may keep it. Knows no component."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from anime_ai.chat.transcripts import FORMATS, export
from anime_ai.errors import AnimeAIError
from anime_ai.texts import text
from anime_ai.ui.persons import person_of

if TYPE_CHECKING:
    from anime_ai.studio import Studio

CONVERSATION = "conversation"


def conversations_of(studio: Studio) -> Any:
    """`/conversation/<id>?as=<format>`."""
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    def hand_over(request: Request) -> Response:
        person = person_of(request)
        form = request.query_params.get("as", "json")
        if form not in FORMATS:
            return PlainTextResponse(text("ui.refused.route", person.language), status_code=404)
        try:
            found = studio.conversations.get(person.id, request.path_params["conversation"])
            called = studio.personas.called
            content = export(studio.conversations, person.id, found.id, form, called(found.persona), called)
        except AnimeAIError as error:
            return PlainTextResponse(error.say(person.language), status_code=404)
        suffix = FORMATS[form]
        name = quote((found.title or found.persona)[:80], safe="")
        named = f"attachment; filename=\"chat{suffix}\"; filename*=UTF-8''{name}{suffix}"
        headers = {"content-disposition": named, "cache-control": "no-store"}
        return Response(content, media_type="application/octet-stream", headers=headers)

    return Route(f"/{CONVERSATION}/{{conversation}}", hand_over)


def export_menu(conversation_id: str, language: str) -> str:
    """A menu of links, one for every form."""
    links = "".join(
        f'<a href="{CONVERSATION}/{quote(conversation_id)}?as={form}" download>'
        f"{escape(text(f'transcript.{form}', language))}</a>"
        for form in FORMATS
    )
    head = escape(text("transcript.export", language))
    return f'<details class="exports small"><summary>{head}</summary><div>{links}</div></details>'
