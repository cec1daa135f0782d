"""Servers for the remote engine: llama.cpp's own in a child process, and one on loopback that does what a test says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY = "sk-this-is-a-secret-0123456789"


@contextmanager
def served_llama(gguf: Path, log: Path) -> Iterator[str]:
    """The address of llama.cpp's server with a model, behind KEY."""
    with open(log, "wb") as opened:
        child = subprocess.Popen(
            [sys.executable, __file__, str(gguf)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=opened
        )
        with child:
            try:
                assert child.stdout is not None
                address = child.stdout.readline().decode().strip()
                assert address, log.read_text(encoding="utf-8", errors="replace")
                yield address
            finally:
                child.kill()


class Asked(BaseHTTPRequestHandler):
    """One request. `events` and `body` are what a test says with; `request` is the JSON that came."""

    request: Any
    server: Loopback  # type: ignore[assignment]

    def log_message(self, format: str, *values: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.request = json.loads(self.rfile.read(length)) if length else None
        self.server.asked.append(self)
        with suppress(BrokenPipeError, ConnectionResetError):
            self.server.script(self)
        self.close_connection = True

    def body(self, status: int, content: str | bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content.encode() if isinstance(content, str) else content)
        self.wfile.flush()

    def events(self, *events: Any, done: bool = True) -> None:
        """Server-sent events: objects as JSON, strings as they are."""
        lines = [event if isinstance(event, str) else f"data: {json.dumps(event)}\n\n" for event in events]
        self.body(200, "".join(lines) + ("data: [DONE]\n\n" if done else ""), "text/event-stream")

    def gone(self) -> bool:
        """Wait until the other side has closed the connection."""
        self.connection.settimeout(30)
        with suppress(OSError):
            return self.connection.recv(1) == b""
        return False


class Loopback(ThreadingHTTPServer):
    """Answers by `script`; remembers what it was asked."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Asked)
        self.asked: list[Asked] = []
        self.script: Callable[[Asked], None] = lambda asked: asked.body(404, "{}")

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def questions(self) -> list[Any]:
        return [asked.request for asked in self.asked if asked.request is not None]


@contextmanager
def loopback(port: int = 0) -> Iterator[Loopback]:
    with Loopback(port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    """Serve a GGUF file until the input ends or the process is killed; the address is the first line of the output."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = sys.argv[1], {"starter"}
    params.api_keys, params.ui, params.endpoint_slots = [KEY], False, False
    params.n_ctx, params.n_parallel, params.cache_ram_mib, params.n_gpu_layers = 1024, 1, 0, 0
    params.cpuparams.n_threads, params.verbosity = 2, 2
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
