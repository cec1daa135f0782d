"""The one way in which a handler gets onto the page: with a role, checked on the server at every call.

Knows persons and how an error is said, no tab and no service. A hidden button, a private endpoint, a closed tab
protect nothing: whoever knows an index can call it, so each call passes the wrapper of `Page.on`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, Literal

import gradio as gr

from anime_ai.errors import AccessError, AnimeAIError
from anime_ai.texts import text
from anime_ai.ui.persons import Person, person_of

Role = Literal["owner", "visitor"]
log = logging.getLogger("anime_ai.ui")


class Page:
    """Registers handlers, called as `handler(person, *values)`; with `event=True` the event stands before them.

    `change` is told of a person before a handler that `writes` runs for them; it raises where that is too often."""

    def __init__(self, change: Callable[[str], None] = lambda person: None) -> None:
        self.change = change

    def on(
        self,
        triggers: Any,
        handler: Callable[..., Any],
        *,
        role: Role,
        inputs: Sequence[Any] = (),
        outputs: Sequence[Any] = (),
        quiet: bool = False,
        event: bool = False,
        writes: bool = False,
        **options: Any,
    ) -> Any:
        """Run `handler` on one trigger or a list of them; a generator handler streams.

        `quiet`: a person without the role gets no message and no change, for what runs by itself (loading, a timer).
        `writes`: it keeps something of a visitor's without asking for an answer, and counts.
        """
        if role not in ("owner", "visitor"):
            raise ValueError(f"{handler.__name__}: no such role: {role!r}")
        call = guarded(handler, role, skipped(len(outputs)) if quiet else None, event, self.change if writes else None)
        settings = {"show_progress": "hidden", "concurrency_limit": 8, "api_visibility": "private", **options}
        listed = triggers if isinstance(triggers, list) else [triggers]
        return gr.on(listed, call, inputs=list(inputs), outputs=list(outputs), **settings)

    def on_unload(self, demo: gr.Blocks, handler: Callable[..., Any], *, role: Role) -> None:
        """Run `handler` when a page was closed."""
        demo.unload(guarded(handler, role, skipped(0), False))


def chooser(**told: Any) -> gr.Dropdown:
    """A dropdown whose choices are filled in by handlers, which check what comes back.

    Gradio checks it against the choices that it remembers of this page load. After a restart of the app it remembers
    none and would refuse everything that a page which is still open sends.
    """
    made = gr.Dropdown(**{"choices": [], "filterable": False, **told})
    made.preprocess = lambda payload: payload  # type: ignore[method-assign]
    return made


def held(value: str | dict[str, Any] | list[Any]) -> Any:
    """What the page itself keeps between two calls, such as the id of what is open; handlers check what comes back.

    What Gradio's State keeps is lost to a page that stays open: when the app is started anew, an hour after its
    connection broke, and behind some hundred later page loads.
    """
    if isinstance(value, str):
        return gr.Textbox(value, visible=False, elem_classes="held")
    return gr.JSON(value, visible=False, elem_classes="held")


def skipped(count: int) -> Any:
    """The answer that changes none of `count` outputs."""
    return [gr.skip() for _ in range(count)] if count > 1 else (gr.skip() if count else None)


def guarded(
    handler: Callable[..., Any],
    role: Role,
    refused: Any,
    event: bool,
    change: Callable[[str], None] | None = None,
) -> Callable[..., Any]:
    """`handler` behind the role check and its count, in the shape that Gradio looks for. `refused` None: a refusal is
    said."""

    def admitted(request: Any) -> Person | None:
        person = person_of(request)
        if person.id and (role == "visitor" or person.is_owner):
            if change is not None:
                change(person.id)
            return person
        if refused is not None:
            return None
        raise AccessError("ui.owner_only" if person.id else "ui.nobody")

    def run(request: gr.Request, *values: Any) -> Any:
        with said(request, handler.__name__):
            person = admitted(request)
            return refused if person is None else handler(person, *values)

    def stream(request: gr.Request, *values: Any) -> Iterator[Any]:
        with said(request, handler.__name__):
            person = admitted(request)
            if person is not None:
                yield from handler(person, *values)

    def run_event(request: gr.Request, happened: gr.EventData, *values: Any) -> Any:
        return run(request, happened, *values)

    def stream_event(request: gr.Request, happened: gr.EventData, *values: Any) -> Iterator[Any]:
        yield from stream(request, happened, *values)

    streams = inspect.isgeneratorfunction(handler)
    call: Any = (stream_event if event else stream) if streams else (run_event if event else run)
    call.__name__ = handler.__name__
    call.role, call.writes = role, change is not None
    return call


@contextmanager
def said(request: Any, name: str) -> Iterator[None]:
    """Turn errors into one line on the page, in the person's language, with nothing in it that could be markup."""
    language = person_of(request).language
    try:
        yield
    except AnimeAIError as error:
        raise toast(error.say(language), language) from error
    except ImportError as error:
        log.exception("%s: a package cannot be imported", name)
        raise toast(text("ui.error.package", language, package=error.name or error), language) from error
    except gr.Error:
        raise
    except Exception as error:
        log.exception("%s failed", name)
        raise toast(text("ui.error.unknown", language), language) from error


def toast(line: str, language: str) -> gr.Error:
    """A message for the corner of the page; Gradio would render markup in it, so it is escaped."""
    return gr.Error(escape(line), title=text("ui.error.title", language), print_exception=False)


def note(line: str, language: str) -> None:
    """Say something that is no error."""
    gr.Info(escape(line), title=text("ui.note", language))
