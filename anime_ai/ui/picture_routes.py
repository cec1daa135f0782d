"""The routes that hand a person their own pictures, which no shared cache may keep. Knows no component."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anime_ai.errors import AccessError, AnimeAIError, VisionError
from anime_ai.ui.persons import Person, person_of
from anime_ai.vision.export import FORMS, write
from anime_ai.vision.pictures import small

if TYPE_CHECKING:
    from anime_ai.studio import Studio

MOST_TRIGGER = 80


def pictures_of(studio: Studio) -> list[Any]:
    """Pictures whole and small, those by which a character is known, and all of them as a caption dataset."""
    from starlette.routing import Route

    album = studio.vision.album

    return [
        Route("/picture/{id}.webp", _file(lambda person, id: album.get(person.id, id).path)),
        Route("/thumb/{id}.webp", _file(lambda person, id: small(album.get(person.id, id).path))),
        Route("/character/{id}.webp", _file(lambda person, id: small(album.known_picture(person.id, id)))),
        Route("/pictures.zip", _exported(studio)),
    ]


def _file(find: Callable[[Person, str], Path]) -> Any:
    from starlette.requests import Request
    from starlette.responses import FileResponse, PlainTextResponse, Response

    def handed(request: Request) -> Response:
        person = person_of(request)
        try:
            path = find(person, request.path_params["id"])
        except AnimeAIError as error:
            return PlainTextResponse(error.say(person.language), status_code=404)
        if not path.is_file():
            return PlainTextResponse("", status_code=404)
        return FileResponse(path, media_type="image/webp", headers={"cache-control": "private, max-age=86400"})

    return handed


def _exported(studio: Studio) -> Any:
    from starlette.background import BackgroundTask
    from starlette.requests import Request
    from starlette.responses import FileResponse, PlainTextResponse, Response

    def exported(request: Request) -> Response:
        person = person_of(request)
        form, trigger = (request.query_params.get(name, "") for name in ("form", "trigger"))
        place: Path | None = None
        folder = studio.settings.output_dir / "cache"  # the next start clears away what a killed app left there
        try:
            if not person.is_owner:
                raise AccessError("ui.owner_only")
            pictures = studio.vision.album.latest(person.id, None)
            if not pictures:
                raise VisionError("vision.no_pictures")
            folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(".zip", dir=folder)
            os.close(handle)
            place = Path(name)
            write(pictures, place, next((one for one in FORMS if one == form), FORMS[0]), trigger[:MOST_TRIGGER])
        except (AnimeAIError, OSError) as error:
            if place is not None:
                place.unlink(missing_ok=True)
            if isinstance(error, OSError):
                error = VisionError("vision.not_written", path=folder, why=error.strerror or error)
            return PlainTextResponse(
                error.say(person.language), status_code=403 if isinstance(error, AccessError) else 404
            )
        headers = {"content-disposition": 'attachment; filename="pictures.zip"', "cache-control": "no-store"}
        gone = BackgroundTask(place.unlink, missing_ok=True)
        return FileResponse(place, media_type="application/zip", headers=headers, background=gone)

    return exported
