"""What Gradio keeps of a page load. Knows no handler and no person.

With every session it makes a copy of the whole page and keeps in it what every component shows, so that a link can lead
to the page as it stands. The guard closes that route. On this page the copy took a quarter of a second of every page
load and 1.2 MB of every session, on top of all that was said in it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio.state_holder
from gradio.state_holder import SessionState


class LightSession(SessionState):
    """A session without that copy: its states, and the components that handlers have changed."""

    def __init__(self, blocks: Any) -> None:
        # What is copied is what is in both.
        super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks=()))  # type: ignore[arg-type]

    def __setitem__(self, key: int, value: Any) -> None:
        super().__setitem__(key, value)
        self.config_values.clear()

    def _update_config(self, key: int) -> None:
        return

    def _update_value_in_config(self, key: int, value: Any) -> None:
        return


def keep_sessions_light() -> None:
    """Let Gradio make such sessions from now on."""
    gradio.state_holder.SessionState = LightSession  # type: ignore[misc]
