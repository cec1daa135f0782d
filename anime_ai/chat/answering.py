"""The line that names the model that answers. Knows no conversation."""

from __future__ import annotations

from dataclasses import dataclass

from anime_ai.chat.choices import AdapterChoice, base_name, is_starter
from anime_ai.chat.machine import offers
from anime_ai.config import Settings
from anime_ai.models.engine import Engine
from anime_ai.models.engines import server_name
from anime_ai.texts import text


@dataclass(frozen=True)
class Answering:
    """Which model answers: a line for the page. Making one loads nothing."""

    label: str
    starter: bool
    loaded: bool
    notice: str


def answering(
    settings: Settings, choice: AdapterChoice, engine: Engine | None, aside: bool, language: str | None
) -> Answering:
    """What is said of a choice, honestly about the starter. `engine`: the one that is open; `aside`: it answers from
    the processors while a training has the GPU."""
    name = base_name(settings) if choice.base == "auto" else choice.base
    server = server_name(settings)
    starter = is_starter(settings, name) and not server
    if server:
        name = settings.remote_model or text("chat.its_model", language)
        label = text("chat.answering_there", language, server=server, base=name)
    else:
        label = text("chat.answering", language, base=text("model.starter", language) if starter else name)
    if choice.id:
        label = text("chat.answering_with", language, answering=label, adapter=choice.label)
    here = engine is not None and (bool(server) or name in (engine.base.id, str(engine.base.path)))
    notices = [text("chat.starter_notice", language)] * starter
    notices += [text("chat.on_cpu_meanwhile", language)] * aside
    notices += [text("chat.leaves_this_machine", language, server=server)] * bool(server)
    notices += [text(key, language) for key in offers(engine)] if here and not server else []
    loaded = engine is not None and here and engine.loaded
    if engine is not None and loaded and not server:
        label = text("chat.answering_by", language, answering=label, engine=engine.name)
    return Answering(label, starter, loaded, " ".join(notices))
