"""What a page is sent of a handler's answer: as Gradio sends it, without the work for what stays as it is."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
import pytest
from gradio.state_holder import SessionState

from anime_ai.ui.blocks import Blocks


def built(kind: type[gr.Blocks]) -> tuple[gr.Blocks, Any]:
    with kind(analytics_enabled=False) as demo:
        outputs = [gr.HTML(), gr.Textbox(), gr.State("x"), gr.Dropdown(choices=["a"]), gr.Button("b"), gr.Row()]
        gr.Button().click(lambda: None, outputs=outputs)
    return demo, next(iter(demo.fns.values()))


def sent(kind: type[gr.Blocks], *answers: Any) -> list[Any]:
    """What the page is sent for each of some answers of one handler, and what the state holds then."""

    async def send() -> list[Any]:
        demo, fn = built(kind)
        state = SessionState(demo)
        told = [await demo.postprocess_data(fn, answer, state) for answer in answers]
        return [*told, state[fn.outputs[2]._id]]

    return asyncio.run(send())


def plain(answer: Any) -> Any:
    """Without what Gradio takes for a property of HTML: the mark of an update itself."""
    if not isinstance(answer, list):
        return answer
    mark = {"props": {"__type__": "update"}, "__type__": "update"}
    return [{"__type__": "update"} if one == mark else one for one in answer]


SKIP = gr.skip()
ANSWERS: list[Any] = [
    [SKIP] * 6,
    SKIP,
    ["<b>hi</b>", SKIP, SKIP, SKIP, SKIP, SKIP],
    [SKIP, SKIP, "y", SKIP, SKIP, SKIP],
    ["<b>hi</b>", "said", "y", gr.update(choices=["a", "b"], value="b"), gr.update(visible=False), SKIP],
    ("", SKIP, SKIP, gr.update(choices=[]), SKIP, gr.update(visible=True)),
    [None, None, None, None, None, SKIP],
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_page_is_sent_what_gradio_would_send(answer: Any) -> None:
    def copied() -> Any:  # Gradio takes updates apart
        return (
            dict(answer)
            if isinstance(answer, dict)
            else type(answer)(dict(one) if isinstance(one, dict) else one for one in answer)
        )

    assert sent(Blocks, copied()) == [plain(one) for one in sent(gr.Blocks, copied())]


def test_what_stays_as_it_is_is_not_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for kind in (gr.HTML, gr.Textbox, gr.Dropdown, gr.Button, gr.Row):
        plain_init = kind.__init__

        def noted(self: Any, *given: Any, plain_init: Any = plain_init, **told: Any) -> None:
            made.append(type(self).__name__)
            plain_init(self, *given, **told)

        monkeypatch.setattr(kind, "__init__", noted)
    *told, state = sent(Blocks, ["<b>hi</b>", *[SKIP] * 5], [SKIP, SKIP, "y", *[SKIP] * 3])
    assert told[0][0] == "<b>hi</b>"
    assert told[1] == [SKIP, SKIP, None, SKIP, SKIP, SKIP]
    assert state == "y"
    ours = len(made)
    sent(gr.Blocks, ["<b>hi</b>", *[SKIP] * 5], [SKIP, SKIP, "y", *[SKIP] * 3])
    assert ours == 6, "those of the page itself: five, and the button that is clicked"
    assert len(made) - ours > ours, "Gradio has become better: this class is not needed any more"


def test_an_answer_of_another_length_is_refused_as_before() -> None:
    with pytest.raises(ValueError, match="enough output values"):
        sent(Blocks, [SKIP, SKIP])


@pytest.mark.parametrize("kind", [gr.Textbox, gr.Dropdown, gr.Radio, gr.State])
def test_the_only_output_of_a_handler_is_sent_as_gradio_would_send_it(kind: Any) -> None:
    async def sent_by(blocks: type[gr.Blocks], answer: Any) -> Any:
        with blocks(analytics_enabled=False) as demo:
            gr.Button().click(lambda: None, outputs=[kind()])
        return await demo.postprocess_data(next(iter(demo.fns.values())), answer, SessionState(demo))

    for answer in (None, gr.skip()):
        ours, theirs = (asyncio.run(sent_by(blocks, answer)) for blocks in (Blocks, gr.Blocks))
        assert ours == theirs, "a skip is no value of its own"
