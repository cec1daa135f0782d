"""The routes that hand out a persona's picture, to whoever may talk to her, and her card, to the owner. Knows no
component."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from anime_ai.config import OWNER
from anime_ai.errors import AccessError, AnimeAIError, PersonaError
from anime_ai.persona.card import dump_json
from anime_ai.persona.feelings import FEELINGS, drawn
from anime_ai.persona.files import FORMS
from anime_ai.persona.worlds import world_file
from anime_ai.texts import text
from anime_ai.ui.persons import Person, person_of
from anime_ai.ui.portraits import portrait_url

if TYPE_CHECKING:
    from anime_ai.persona.cards import Persona
    from anime_ai.studio import Studio


def cards_of(studio: Studio) -> list[Any]:
    """`/persona/<id>.webp`, `/persona/<id>/<feeling>.webp`, `/card/<id>?as=png`, `/world/<id>.json`."""
    from starlette.routing import Route

    return [
        Route("/persona/{id}.webp", _picture(studio)),
        Route("/persona/{id}/{feeling}.webp", _picture(studio)),
        Route("/card/{id}", _card(studio)),
        Route("/world/{id}.json", _world(studio)),
    ]


def who_asks(person: Person) -> str:
    """The person as the personas know them: the owner by one name, whatever role gave it."""
    return OWNER if person.is_owner else person.id


def avatar_url(persona: Persona | None) -> str:
    """Where the page finds a persona's picture, "" where she has none."""
    if persona is None:
        return ""
    if persona.shipped:
        return portrait_url(persona.id)
    return f"persona/{quote(persona.id)}.webp?v={persona.picture}" if persona.picture else ""


def face_urls(persona: Persona | None) -> dict[str, str]:
    """Where the page finds her face of each feeling; none of those for which it shows her picture."""
    if persona is None or not persona.expressive:
        return {}
    found = {}
    for feeling in FEELINGS:
        if stem := persona.sprites.get(feeling):
            found[feeling] = f"persona/{quote(persona.id)}/{feeling}.webp?v={stem[:8]}"
        elif persona.shipped and (url := portrait_url(persona.id, drawn(persona.id, feeling))):
            found[feeling] = url
    return found


def _picture(studio: Studio) -> Any:
    from starlette.requests import Request
    from starlette.responses import FileResponse, PlainTextResponse, Response

    def handed(request: Request) -> Response:
        person = person_of(request)
        try:
            feeling = str(request.path_params.get("feeling", ""))
            path = studio.personas.shown_face(request.path_params["id"], feeling, who_asks(person))
        except AnimeAIError as error:
            return PlainTextResponse(error.say(person.language), status_code=404)
        if path is None:
            return PlainTextResponse("", status_code=404)
        return FileResponse(path, media_type="image/webp", headers={"cache-control": "private, max-age=86400"})

    return handed


def _card(studio: Studio) -> Any:
    from starlette.requests import Request
    from starlette.responses import Response

    def handed(request: Request) -> Response:
        form = request.query_params.get("as", "png")

        def made() -> tuple[bytes, str]:
            found = studio.personas.get(request.path_params["id"])
            return studio.personas.export(found.id, form), f"{found.character}.{form}"

        return _file(request, made)

    return handed


def _world(studio: Studio) -> Any:
    from starlette.requests import Request
    from starlette.responses import Response

    def handed(request: Request) -> Response:
        def made() -> tuple[bytes, str]:
            found = studio.worlds.get(request.path_params["id"])
            return dump_json(world_file(found.book)), f"{found.name}.json"

        return _file(request, made)

    return handed


def _file(request: Any, make: Any) -> Any:
    """What the owner downloads; nobody else gets anything."""
    from starlette.responses import PlainTextResponse, Response

    person = person_of(request)
    try:
        if not person.is_owner:
            raise AccessError("ui.owner_only")
        content, name = make()
    except AnimeAIError as error:
        status = 404 if isinstance(error, PersonaError) else 403 if isinstance(error, AccessError) else 500
        return PlainTextResponse(error.say(person.language), status_code=status)
    suffix = name.rpartition(".")[2]
    named = f"attachment; filename=\"card.{suffix}\"; filename*=UTF-8''{quote(name, safe='')}"
    headers = {"content-disposition": named, "cache-control": "no-store"}
    return Response(content, media_type="application/octet-stream", headers=headers)


def downloads(persona: Persona, language: str) -> str:
    """A menu of links, one for every form."""
    links = "".join(
        f'<a href="card/{quote(persona.id)}?as={form}" download>{escape(text(f"ui.persona.form.{form}", language))}</a>'
        for form in FORMS
    )
    head = escape(text("ui.persona.export", language))
    return f'<details class="exports"><summary>{head}</summary><div>{links}</div></details>'
