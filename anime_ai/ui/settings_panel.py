"""The settings as they are in force, what each is for, and by which variable it is changed at the next start.

Nothing is changed here, and of a secret only whether it is set is told.
"""

from __future__ import annotations

import os
from html import escape
from typing import Any

from pydantic import SecretStr

from anime_ai.config import Settings
from anime_ai.processes import usable_cpus
from anime_ai.texts import process_language, text

SHOWN = (
    *("output_dir", "database_url", "model_name", "engine", "hub", "hub_mirror", "embedding", "chroma_url"),
    *("owner_password", "allowed_hosts", "api_origins", "answer_seconds", "max_upload_mb"),
    *("visitor_messages_per_hour", "visitor_tokens_per_day", "visitor_pictures_per_day"),
)
"""Names of the settings in the order in which they are told."""
AROUND = {"language": "ANIME_AI_LANGUAGE", "endpoint": "HF_ENDPOINT", "threads": "OMP_NUM_THREADS"}
"""What is read from the real environment alone."""


def settings_table(settings: Settings, language: str) -> str:
    """A row for every setting."""
    rows = []
    for name in SHOWN:
        value = told(name, getattr(settings, name), language)
        rows.append((f"ANIME_AI_{name.upper()}", value, text(f"ui.setting.{name}", language)))
    around = {
        "language": process_language(),
        "endpoint": os.environ.get("HF_ENDPOINT", "") or "https://huggingface.co",
        "threads": os.environ.get("OMP_NUM_THREADS", "") or str(usable_cpus()),
    }
    rows += [(variable, around[name], text(f"ui.setting.{name}", language)) for name, variable in AROUND.items()]
    lines = "".join(
        f"<li><b>{escape(about)}</b><span>{escape(value)}</span><small>{escape(variable)}</small></li>"
        for variable, value, about in rows
    )
    say = escape(text("ui.machine.settings.about", language))
    return f'<p class="about">{say}</p><ul class="models">{lines}</ul>'


def told(name: str, value: Any, language: str) -> str:
    """A setting's value as it may be shown."""
    if isinstance(value, SecretStr):
        return text("ui.setting.set" if value.get_secret_value() else "ui.setting.unset", language)
    if name == "database_url" and value:
        return without_password(str(value))
    if name == "output_dir":
        return str(value.resolve())
    return str(value) if str(value) else text("ui.setting.empty", language)


def without_password(url: str) -> str:
    from sqlalchemy import make_url

    return make_url(url).render_as_string(hide_password=True)
