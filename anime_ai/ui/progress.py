"""What Gradio's page does at each step of a call. Knows no handler.

At every step it hands every component that any call ever touched its state anew, also of calls that hide their
progress, as nearly all of this page do (`Page.on`), and it does so several times a click. Here the page is served the
one script that says whose progress a step changes with a line more: of a hidden call nobody's.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import gradio
from starlette.responses import Response
from starlette.routing import Route

SCRIPTS = Path(gradio.__file__).parent / "templates" / "frontend" / "assets"
NAME = "statustracker-*.js"
ASKED = re.compile(r"(?<![.\w])resolve_args\((\w+)\)\{(?=let\{fn_index:)")
"""How the method begins that tells, for a step of a call, the components whose progress it changes."""
KEPT = "this.show_progress["
"""Where the same class keeps what each call shows of its progress."""


def light(script: str) -> str | None:
    """Gradio's script with that line; None where it is not as it was in 6.x, and has to be served as it is."""
    found = ASKED.findall(script)
    if len(found) != 1 or KEPT not in script:
        return None
    hidden = f'if({KEPT}{found[0]}.fn_index]==="hidden")return[];'
    return ASKED.sub(lambda begin: begin[0] + hidden, script)


def progress_of_few(folder: Path = SCRIPTS) -> list[Route]:
    """A route for each script that is served otherwise than Gradio would, to stand before Gradio's own."""
    scripts = {file.name: light(file.read_text(encoding="utf-8")) for file in folder.glob(NAME)}
    return [Route(f"/assets/{name}", _serving(script)) for name, script in scripts.items() if script]


def _serving(script: str) -> Any:
    body = script.encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    # The name is that of Gradio's own, which a browser may hold from another version of this app.
    headers = {"ETag": tag, "Cache-Control": "no-cache"}

    async def serve(request: Any) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="text/javascript", headers=headers)

    return serve
