"""Serving the page: hardened, behind the guard, on a free port. Knows no handler."""

from __future__ import annotations

import errno
import ipaddress
import os
import shutil
import socket
from typing import TYPE_CHECKING, Any

from anime_ai.errors import SettingsError
from anime_ai.ui import create_app
from anime_ai.ui.card_routes import cards_of
from anime_ai.ui.dataset_route import download_of
from anime_ai.ui.endpoint_routes import endpoint_of
from anime_ai.ui.guard import Guard, Hosts, Pictures
from anime_ai.ui.labels import Labels
from anime_ai.ui.oauth import OAuth
from anime_ai.ui.origin import origins_of
from anime_ai.ui.passwords import LEAST
from anime_ai.ui.persons import Persons, person_of, read_secret
from anime_ai.ui.picture_routes import pictures_of
from anime_ai.ui.portraits import portraits
from anime_ai.ui.progress import progress_of_few
from anime_ai.ui.published_route import published_of
from anime_ai.ui.sessions import keep_sessions_light
from anime_ai.ui.shell import MARK
from anime_ai.ui.theme import HEAD, STYLES, theme
from anime_ai.ui.transcript_route import conversations_of

if TYPE_CHECKING:
    import gradio as gr

    from anime_ai.config import Settings
    from anime_ai.studio import Studio
    from anime_ai.ui.health import Health

TRIES = 50
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1", "fc00::/7")


def free_port(host: str, port: int) -> int:
    """`port`, or the next one that nobody listens on. Raises SettingsError when 50 in a row are taken, and for what is
    no port, or no host of this machine."""
    if not 0 < port < 65536:
        raise SettingsError("ui.bad_port", port=port)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + TRIES, 65536)):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if os.name != "nt":  # there it would let two servers share a port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host.strip("[]"), candidate))
            except TypeError:  # a name that cannot even be asked for
                raise SettingsError("ui.bad_host", host=host[:80]) from None
            except OSError as error:
                if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                    raise SettingsError("ui.bad_host", host=host[:80]) from None
                continue
            return candidate
    raise SettingsError("ui.no_port", host=host, port=port)


def open_to_others(host: str, share: bool) -> bool:
    """Whether other machines can reach an app that is bound to `host`."""
    return share or host not in ("127.0.0.1", "localhost", "::1", "[::1]")


def check_password(password: str, host: str, share: bool) -> None:
    """Raise SettingsError where others can reach the app and no password, or a short one, keeps them from owning it.

    A Space has its author's own way in, and without one it has no owner."""
    if open_to_others(host, share) and not os.environ.get("SPACE_ID"):
        if not password:
            raise SettingsError("ui.needs_password", host="gradio.live" if share else host)
        if len(password.encode("utf-8", "replace")) < LEAST:
            raise SettingsError("ui.short_password", least=LEAST)


def launch(
    studio: Studio, host: str = "127.0.0.1", port: int = 7860, share: bool = False, health: Health | None = None
) -> gr.Blocks:
    """Serve the studio's page and return at once; `close()` on the answer ends it. `port` has to be free."""
    from starlette.middleware import Middleware

    settings = studio.settings
    check_password(settings.owner_password.get_secret_value(), host, share)
    _own_cache(studio)
    guard = Middleware(
        Guard,
        persons=_persons(settings, share),
        hosts=Hosts.of(host, share, settings.allowed_hosts),
        upload_limit=settings.max_upload_mb * 1024 * 1024,
        on_space=bool(os.environ.get("SPACE_ID")),
        origins=settings.api_origins.split(","),
        pictures=Pictures(settings.visitor_upload_mb * 1024 * 1024, studio.quotas.upload),
        seen=studio.quotas.at,
    )
    _no_cors_of_gradio()
    keep_sessions_light()
    trust_proxies(settings.trusted_proxies)
    demo = create_app(studio, health)
    demo.queue(max_size=128, api_open=False)
    demo.launch(
        server_name=host,
        server_port=port,
        share=share,
        prevent_thread_lock=True,
        quiet=True,
        theme=theme(),
        css_paths=STYLES,
        head_paths=HEAD,
        auth_dependency=lambda request: person_of(request).id or None,
        app_kwargs={
            "middleware": [guard, Middleware(Labels)],
            "routes": _routes(studio),
            "openapi_url": None,
            "docs_url": None,
            "redoc_url": None,
        },
        max_file_size=settings.max_upload_mb * 1024 * 1024,
        state_session_capacity=200,
        enable_monitoring=False,
        run_history=False,
        pwa=False,
        ssr_mode=False,
        mcp_server=False,
        show_error=False,
        allowed_paths=[],
        blocked_paths=[str(settings.studio_dir.resolve()), str(settings.runs_dir.resolve())],
        footer_links=[],
        favicon_path=MARK,
    )
    return demo


def _persons(settings: Settings, share: bool) -> Persons:
    """Who comes, by cookie, password or Hugging Face."""
    return Persons(
        read_secret(settings.studio_dir / "secret.key"),
        password=settings.owner_password.get_secret_value(),
        shared=share or bool(os.environ.get("SPACE_ID")),
        oauth=OAuth.of_space(settings.owners.split(",")),
    )


def _routes(studio: Studio) -> list[Any]:
    """What is served beside the page."""
    from starlette.routing import Route

    return [
        Route("/download/{dataset}.json", download_of(studio)),
        Route("/published", published_of(studio)),
        *pictures_of(studio),
        conversations_of(studio),
        *cards_of(studio),
        *endpoint_of(studio),
        *origins_of(studio),
        portraits(),
        *progress_of_few(),
    ]


def trust_proxies(named: str) -> None:
    """Whose X-Forwarded-For the server takes for the peer's address, read from the right: those that are named, and on
    a Space Hugging Face's own, which stand in a private network. Unasked it would believe everybody on this machine."""
    trusted = [one.strip() for one in named.split(",") if one.strip()]
    for one in trusted:
        try:
            ipaddress.ip_network(one, strict=False)
        except ValueError:
            raise SettingsError("ui.no_proxy", given=one[:60]) from None
    if os.environ.get("SPACE_ID"):
        trusted += PRIVATE
    os.environ["FORWARDED_ALLOW_IPS"] = ",".join(trusted)


class Straight:
    """A middleware that does nothing."""

    def __init__(self, app: Any, **_: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


def _no_cors_of_gradio() -> None:
    """Gradio's own layer stands before the guard, answers every preflight, and lets any site's page read answers where
    the host is no loopback. The guard says who may call."""
    import gradio.routes

    if hasattr(gradio.routes, "CustomCORSMiddleware"):
        gradio.routes.CustomCORSMiddleware = Straight  # type: ignore[assignment,misc]


def _own_cache(studio: Studio) -> None:
    """Gradio's cache in our folder, emptied at every start: what was uploaded has been moved on or was abandoned."""
    cache = studio.settings.output_dir.resolve() / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    os.environ["GRADIO_TEMP_DIR"] = str(cache)
