"""The route that hands the owner the file that was made last: a bundle, or the whole studio. Knows no component."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from anime_ai.texts import text
from anime_ai.ui.persons import person_of

if TYPE_CHECKING:
    from anime_ai.studio import Studio


def published_of(studio: Studio) -> Any:
    """`/published`."""
    from starlette.requests import Request
    from starlette.responses import FileResponse, PlainTextResponse, Response

    def handed(request: Request) -> Response:
        person = person_of(request)
        if not person.is_owner:
            return PlainTextResponse(text("error.ui.owner_only", person.language), status_code=403)
        now = studio.publisher.now()
        if now.made is None or now.state != "finished" or not now.made.is_file():
            return PlainTextResponse("", status_code=404)
        name = now.made.name
        named = f"attachment; filename=\"published.zip\"; filename*=UTF-8''{quote(name, safe='')}"
        headers = {"content-disposition": named, "cache-control": "no-store"}
        return FileResponse(now.made, media_type="application/zip", headers=headers)

    return handed
