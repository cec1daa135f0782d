"""An Ollama Modelfile whose template and stops are those of a prompt layout. Knows no weights.

The template is Go's (https://pkg.go.dev/text/template) over Ollama's `.System` and `.Messages`
(https://github.com/ollama/ollama/blob/main/docs/modelfile.mdx). It is one line of quoted strings, so that no reader of
Modelfiles can trim a blank that belongs to the layout.
"""

from __future__ import annotations

import json

from anime_ai.models.engine import Sampling
from anime_ai.prompting import FORMATS, Layout


def template(layout: Layout) -> str:
    """Renders a system line and messages as `layout.prompt` does, up to where the answer begins. An answer that
    was begun is gone on with."""
    form = FORMATS[layout.format]
    start, silent, opening, closing = layout.marks
    before, after = form.user
    asked = f"{_text(before)}{{{{ $said.Content }}}}{_text(after)}"
    begin = f"{{{{ if $last }}}}{_text(form.assistant + opening)}{{{{ end }}}}"
    answered = f"{_text(form.assistant + silent)}{{{{ $said.Content }}}}"
    end = f"{{{{ if not $last }}}}{_text(closing + form.between)}{{{{ end }}}}"
    told = (
        f"{{{{ range $place, $said := .Messages }}}}{{{{ $last := eq (len (slice $.Messages $place)) 1 }}}}"
        f'{{{{ if eq $said.Role "user" }}}}{asked}{begin}'
        f'{{{{ else if eq $said.Role "assistant" }}}}{answered}{end}{{{{ end }}}}{{{{ end }}}}'
    )
    system = f"{{{{ if .System }}}}{_text(form.system[0])}{{{{ .System }}}}{_text(form.system[1])}{{{{ end }}}}"
    return _text(start) + system + told


def stops(layout: Layout) -> list[str]:
    """What ends an answer, as text: the layout's own stops."""
    named = {layout.decode([token]) for token in layout.stop_ids}
    return sorted({*named, *layout.stop_texts})


def modelfile(layout: Layout, file: str, card: str, context: int) -> str:
    """`file`: the GGUF beside it; `card`: the system line; `context`: tokens that the model can see."""
    sampling = Sampling()
    lines = [
        f"FROM ./{file}",
        f'TEMPLATE """{template(layout)}"""',
        *([f'SYSTEM """{_quoted(layout.clean(card))}"""'] if card.strip() else []),
        *(f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops(layout)),
        f"PARAMETER num_ctx {context}",
        f"PARAMETER temperature {sampling.temperature}",
        f"PARAMETER top_p {sampling.top_p}",
        f"PARAMETER repeat_penalty {sampling.repetition_penalty}",
    ]
    return "\n".join(lines) + "\n"


def _text(said: str) -> str:
    """A Go string that is printed as it is; "" for nothing."""
    return f"{{{{ {json.dumps(said, ensure_ascii=False)} }}}}" if said else ""


def _quoted(said: str) -> str:
    """Three quotes would end what stands between three quotes."""
    return said.replace('"""', "”””")
