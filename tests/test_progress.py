"""The one script of Gradio's page that is served with a line more."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from anime_ai.ui.progress import NAME, SCRIPTS, light, progress_of_few

AS_IT_WAS = (
    "class A{show_progress={};update(e){this.resolve_args(e).forEach(()=>{this.show_progress[e.fn_index]})}"
    "resolve_args(e){let{fn_index:t,status:n}=e;return[t,n]}}"
)


def test_gradios_own_script_is_as_this_app_knows_it() -> None:
    """Where this fails the page is as slow as Gradio's own: look at its script, and at `ASKED`."""
    (file,) = SCRIPTS.glob(NAME)
    plain = file.read_text(encoding="utf-8")
    served = light(plain)
    assert served is not None
    added = 'if(this.show_progress[e.fn_index]==="hidden")return[];'
    assert served.count(added) == 1
    assert served.replace(added, "") == plain


def test_the_line_stands_where_a_step_is_asked_for() -> None:
    begins = 'resolve_args(e){if(this.show_progress[e.fn_index]==="hidden")return[];let{fn_index:t'
    assert begins in str(light(AS_IT_WAS))


@pytest.mark.parametrize(
    "script",
    [
        "",
        AS_IT_WAS.replace("show_progress", "progress_shown"),
        AS_IT_WAS.replace("resolve_args(e){let{fn_index", "resolve_args(e){let{index"),
        AS_IT_WAS * 2,
    ],
    ids=["empty", "no such field", "another method", "twice"],
)
def test_another_script_is_left_to_gradio(script: str, tmp_path: Path) -> None:
    assert light(script) is None
    (tmp_path / NAME.replace("*", "x")).write_text(script, encoding="utf-8")
    assert progress_of_few(tmp_path) == []


def test_a_browser_asks_again_and_gets_it_once() -> None:
    (file,) = SCRIPTS.glob(NAME)
    with TestClient(Starlette(routes=progress_of_few())) as client:
        answer = client.get(f"/assets/{file.name}")
        assert answer.text == light(file.read_text(encoding="utf-8"))
        assert answer.headers["content-type"].startswith("text/javascript"), "a browser runs no module of another type"
        again = client.get(f"/assets/{file.name}", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
