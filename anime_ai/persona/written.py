"""Characters written by hand as YAML: the files of text-generation-webui, `name`, `greeting`, `context`. Knows no card.

Every value is taken as the text that stands there: a name that looks like a date, a number or a switch is a name. No
tag makes anything else, and no alias is followed: a few lines of them can stand for gigabytes.
https://github.com/oobabooga/text-generation-webui/tree/main/user_data/characters
"""

from __future__ import annotations

import re
from typing import Any

from anime_ai.errors import PersonaError

MOST = 2**20
"""Bytes of a file; the parser is slow."""
_LOOKS = re.compile(r"""^(?P<mark>["']?)(?:name|char_name|context|greeting|char_greeting)(?P=mark)[ \t]*:""", re.M)
_NOTHING = ("~", "null", "Null", "NULL")
_START = re.compile(r"^\s*<START>\s*$", re.IGNORECASE | re.MULTILINE)


def is_written(content: str) -> bool:
    """Whether a text looks like such a file: YAML with one of its keys at the beginning of a line, and no JSON."""
    return content.lstrip("\ufeff \t\r\n")[:1] not in ("{", "[", '"') and _LOOKS.search(content) is not None


def parse_written(content: str) -> dict[str, Any]:
    """Its fields, as JSON would have them: text, lists and objects. Dialogues behind a `<START>` in the context become
    the example dialogue. Raises PersonaError that names the line."""
    import yaml

    class Loader(yaml.BaseLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.composer.ComposerError(None, None, "an alias (*)", self.peek_event().start_mark)
            return super().compose_node(parent, index)

    if len(content) > MOST:
        raise PersonaError("persona.yaml_large", size=len(content) // 1024, most=MOST // 1024)
    try:
        found = yaml.load(content.lstrip("\ufeff"), Loader)  # noqa: S506 (makes text, lists and dicts alone)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise PersonaError("persona.not_yaml", line=line, why=str(error.problem or error.context)[:120]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise PersonaError("persona.not_yaml", line=1, why=str(error).splitlines()[0][:120]) from error
    if not isinstance(found, dict):
        raise PersonaError("persona.no_data")
    told = {str(name): "" if value in _NOTHING else value for name, value in found.items()}
    if "name" in told and "greeting" in told:
        told.setdefault("context", "")
    context = told.get("context")
    if isinstance(context, str) and "example_dialogue" not in told and (start := _START.search(context)):
        told |= {"context": context[: start.start()].rstrip(), "example_dialogue": context[start.start() :].strip()}
    return told
