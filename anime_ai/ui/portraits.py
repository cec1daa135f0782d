"""The characters' portraits by address: public, as they ship. Knows no drawing and no persona's words."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from anime_ai.config import AVATARS

PORTRAITS = "portraits"


@lru_cache(maxsize=256)
def portrait_url(persona_id: str, expression: str = "") -> str:
    """Where the page finds a portrait of hers, her avatar where no expression is named; "" where there is none.

    Beside the page's own address, so that it also holds behind a proxy that serves the page in a folder. What ships
    stays the same while the app runs, and each answer's page asks for all of hers.
    """
    name = f"{persona_id}/{expression}.webp" if expression else f"{persona_id}.webp"
    return f"{PORTRAITS}/{name}" if (AVATARS / name).is_file() else ""


def portraits() -> Any:
    """The route that serves them."""
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    return Mount(f"/{PORTRAITS}", StaticFiles(directory=AVATARS, check_dir=False))
