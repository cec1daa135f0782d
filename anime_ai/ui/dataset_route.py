"""The route that hands the owner a dataset as a file in any form; no shared cache may keep it. Knows no component."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from anime_ai.dataset.export import FORMATS, export
from anime_ai.errors import AccessError, AnimeAIError
from anime_ai.texts import text
from anime_ai.ui.persons import person_of

if TYPE_CHECKING:
    from anime_ai.studio import Studio


def download_of(studio: Studio) -> Any:
    """`/download/<dataset>.json?as=<format>`."""
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response

    def download(request: Request) -> Response:
        person = person_of(request)
        try:
            if not person.is_owner:
                raise AccessError("ui.owner_only")
            info = studio.datasets.find(request.path_params["dataset"])
            made = export(studio.datasets.rows(info.id), request.query_params.get("as", "json"))
        except AnimeAIError as error:
            status = 403 if isinstance(error, AccessError) else 404
            return PlainTextResponse(error.say(person.language), status_code=status)
        name = quote(info.name, safe="")
        named = f"attachment; filename=\"dataset{made.suffix}\"; filename*=UTF-8''{name}{made.suffix}"
        headers = {"content-disposition": named, "cache-control": "no-store"}
        return Response(made.content, media_type="application/octet-stream", headers=headers)

    return download


def exports(dataset: str, language: str) -> str:
    """A menu of links, one for every form."""
    links = "".join(
        f'<a href="download/{quote(dataset)}.json?as={form}" download>{escape(text(f"export.{form}", language))}</a>'
        for form in FORMATS
    )
    head = escape(text("ui.dataset.export", language))
    return f'<details class="exports"><summary>{head}</summary><div>{links}</div></details>'
