"""What the fake hubs share: being there for a block, plain answers, and who hangs up."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, TypeVar


class Served(Protocol):
    """What answers speak for: it knows its address."""

    endpoint: str


Hub = TypeVar("Hub", bound=Served)


class Answers(BaseHTTPRequestHandler):
    """One connection. A hub's own answers are a class below; `hub` is set while it is served."""

    protocol_version = "HTTP/1.1"
    hub: Any

    def say(self, value: Any, status: int = 200, extra: dict[str, str] | None = None) -> None:
        """JSON, or bytes as they are."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, said in (extra or {}).items():
            self.send_header(name, said)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def served(hub: Hub, answers: type[Answers], release: Callable[[Hub], None]) -> Iterator[Hub]:
    """The hub on loopback, there for a block; `release` lets go of whatever waits for it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (answers,), {"hub": hub}))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        release(hub)
        server.shutdown()
        server.server_close()
        thread.join()
