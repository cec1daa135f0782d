"""Gradio's Blocks, without what a skipped output costs there. Knows no tab."""

from __future__ import annotations

import copy
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState

SKIPPED = gr.skip()


class Blocks(gr.Blocks):
    """Gradio (6.x, `postprocess_data`) makes a component anew for every output of every update, also for one that is to
    stay as it is: half a millisecond each, and of the outputs of an answer that is streamed all but one stay. Here it
    is not told of those."""

    async def postprocess_data(
        self, block_fn: Any, predictions: list[Any] | dict[Any, Any], state: SessionState | None
    ) -> list[Any]:
        """What the page is sent of a handler's answer; `gr.skip()` for what stays as it is, as Gradio would send it."""
        outputs = block_fn.outputs
        told: list[Any] = [None if one.stateful else dict(SKIPPED) for one in outputs]
        if _is_skip(predictions):  # one for all
            return told
        if not isinstance(predictions, (list, tuple)) or len(predictions) != len(outputs) or len(outputs) < 2:
            return await super().postprocess_data(block_fn, predictions, state)
        changed = [place for place, one in enumerate(predictions) if not _is_skip(one)]
        if changed:
            some = copy.copy(block_fn)
            some.outputs = [outputs[place] for place in changed]
            values = [predictions[place] for place in changed]
            made = await super().postprocess_data(some, values if len(values) > 1 else values[0], state)
            for place, one in zip(changed, made, strict=True):
                told[place] = one
        return told


def _is_skip(value: Any) -> bool:
    return isinstance(value, dict) and value == SKIPPED
