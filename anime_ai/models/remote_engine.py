"""The engine over a server that speaks OpenAI's protocol: vLLM, Ollama, llama.cpp's own, the clouds.

The server's model need not be the base at hand. Where a probe shows that it reads text as our tokenizer does, mark by
mark, it gets what a local model gets: token ids, or else the rendered text; every other server gets messages and lays
them out itself. An adapter is the server's model of its name.

https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from anime_ai.config import Settings
from anime_ai.errors import ModelError
from anime_ai.files import read_json
from anime_ai.models.adapters import read_card
from anime_ai.models.bases import Base
from anime_ai.models.device import Device
from anime_ai.models.engine import Adapter, Piece, Sampling
from anime_ai.models.layouts import Layouts
from anime_ai.models.remote_answer import Thoughts, pieces
from anime_ai.models.remote_server import Server
from anime_ai.prompting import Dialogue, Exchange, Layout, Prompt, inert

Form = Literal["tokens", "text", "text-after-begin", "messages"]
"""What is sent: token ids, the rendered text, the same where the server writes the begin token itself, messages."""
CONTEXT = 4096
"""Tokens of a context where neither the settings nor the server say how many."""
REMEMBERED = 60.0
"""Seconds for which the server's list of models is believed."""
MOST_STOPS = 4
"""Stop texts that every server takes."""
FOREIGN = re.compile(
    r"<[|｜][^<>\n]{1,40}[|｜]>|<\|[a-z_]{1,20}|</?s>|</?(?:think|thinking|tool_calls?|tool_responses?)>"
    r"|<(?:start|end)_of_(?:turn|image)>|<(?:bos|eos|pad|unk|sop|eop)>|\[g?MASK\]|<</?SYS>>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS|TOOL_CONTENT|THINK|IMG)\]",
    re.IGNORECASE,
)
"""Control sequences of models whose vocabulary is not here (Qwen, DeepSeek, Llama, Mistral, Gemma, GLM, Phi)."""
_PROBE = Dialogue("你是她。", history=(Exchange("Hi, 在吗？", "嗯……在。"),), question="今天的 weather 怎么样？🙂")


@dataclass(frozen=True)
class Served:
    """A model that the server names; `parent` where it is an adapter's, `context` 0 where it is not told."""

    id: str
    parent: str = ""
    context: int = 0


class RemoteEngine:
    """See `anime_ai.models.engine.Engine`. `base` lends its tokenizer, for counting and for rendering.

    Raises ModelError for an address that cannot be one.
    """

    name = "remote"
    device: Device | None = None
    reading_pace: float | None = None

    def __init__(self, base: Base, settings: Settings) -> None:
        self.base = base
        self.settings = settings
        self.server = Server(settings)
        self._layouts = Layouts(base)
        self._forms: dict[str, Form] = {}
        self._plain: set[str] = set()
        self._models: tuple[float, tuple[Served, ...]] | None = None
        self._learning = threading.Lock()

    @property
    def loaded(self) -> bool:
        return self._models is not None

    def tokenizer(self) -> Any:
        return self._layouts.tokenizer()

    def layout(self, format: str, think: str) -> Layout:
        return self._layouts.layout(format, think)

    def context_length(self) -> int:
        if self.settings.remote_context:
            return self.settings.remote_context
        told = [model.context for model in self.models() if model.context]
        return min(told) if told else CONTEXT

    def close(self) -> None:
        """Forget what the server said of itself."""
        with self._learning:
            self._models = None
            self._forms.clear()
            self._plain.clear()

    def models(self, stop: threading.Event | None = None) -> tuple[Served, ...]:
        """What the server offers, empty where it does not say. Raises ModelError where it cannot be asked."""
        known = self._models
        if known is not None and time.monotonic() - known[0] < REMEMBERED:
            return known[1]
        try:
            listed = self.server.ask("/models", stop=stop).get("data")
        except ModelError as error:
            if error.key not in ("model.remote_not_found", "model.remote_refused", "model.remote_nonsense"):
                raise
            listed = None
        found = tuple(_served(one) for one in listed or () if isinstance(one, dict) and one.get("id"))
        self._models = (time.monotonic(), found)
        return found

    def forget(self, cache_keys: Collection[str]) -> None:
        """Nothing: what a server keeps is its own business."""

    def prepare(
        self, prompt: Prompt, adapter: Adapter | None = None, cache_key: str = "", stop: threading.Event | None = None
    ) -> None:
        """Nothing: what a server keeps is its own business."""

    def stream(
        self,
        prompt: Prompt,
        adapter: Adapter | None = None,
        cache_key: str = "",
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
        stop: threading.Event | None = None,
    ) -> Generator[Piece, None, None]:
        stop = stop or threading.Event()
        model = self.model_of(adapter, stop)
        form = "messages" if stop.is_set() else self._form(model, stop)
        if stop.is_set():
            return
        path = "/chat/completions" if form == "messages" else "/completions"
        body, more = self._body(model, form, prompt, sampling), _more(form, prompt, sampling)
        marks = (*prompt.stop_texts, *self._stop_marks(prompt))
        thoughts = Thoughts(prompt.opens_thought) if form == "messages" else None
        with closing(self._events(path, body, more, stop)) as events:
            for piece in pieces(events, marks, thoughts, sampling.max_new_tokens, sampling.logprobs):
                if stop.is_set():
                    return
                yield piece

    def model_of(self, adapter: Adapter | None, stop: threading.Event | None = None) -> str:
        """The server's name of the model that answers. Raises ModelError where it has none for an adapter: the base in
        her stead would be somebody else."""
        if adapter is None:
            return self.settings.remote_model or self._only_model(self.models(stop))
        names = _names(adapter.path)
        for own, there in self._mapped().items():
            if own in names:
                return there
        served = [model.id for model in self.models(stop)]
        for name in names:
            for there in served:
                if name in (there.lower(), there.lower().rpartition("/")[2].removesuffix(":latest")):
                    return there
        raise ModelError(
            "model.remote_no_adapter", server=self.server.name, adapter="、".join(names), known=_listed(served)
        )

    def _mapped(self) -> dict[str, str]:
        pairs = [pair.partition("=") for pair in self.settings.remote_adapters.split(",") if pair.strip()]
        if any(not (own.strip() and there.strip()) for own, _, there in pairs):
            raise ModelError("model.remote_bad_adapters", given=self.settings.remote_adapters[:100])
        return {own.strip().lower(): there.strip() for own, _, there in pairs}

    def _only_model(self, models: Sequence[Served]) -> str:
        """The base where the server has one, its adapters left aside."""
        bases = [model.id for model in models if not model.parent]
        if len(bases) != 1:
            raise ModelError("model.remote_which", server=self.server.name, known=_listed(bases))
        return bases[0]

    def _form(self, model: str, stop: threading.Event) -> Form:
        if self.settings.remote_form == "messages":
            return "messages"
        with self._learning:
            known = self._forms.get(model)
        if known is None:
            known = self._probe(model, stop)
            if stop.is_set():
                return "messages"
            with self._learning:
                self._forms[model] = known
        return known

    def _probe(self, model: str, stop: threading.Event) -> Form:
        """The best form that the server reads as we do: it counts as many tokens as we.

        Another vocabulary, a layout that the server puts around the text, a begin token too many: each counts
        otherwise. Ids prove nothing by themselves, since any model reads any of them.
        """
        layout = self.layout("auto", "silent")
        tokenizer, prompt = layout.tokenizer, layout.prompt(_PROBE)
        text, begin = layout.decode(prompt.ids), tokenizer.bos_token or ""
        wanted = len(tokenizer.encode(text, add_special_tokens=False))
        found: Form = "text" if self.settings.remote_form == "text" else "messages"
        if self._counted(model, text, stop) == wanted:
            found = "text"
        elif begin and text.startswith(begin) and self._counted(model, text.removeprefix(begin), stop) == wanted:
            found = "text-after-begin"
        else:
            return found
        return "tokens" if self._counted(model, list(prompt.ids), stop) == len(prompt.ids) else found

    def _counted(self, model: str, prompt: Any, stop: threading.Event) -> int:
        """Tokens that the server finds in a prompt; -1 where it takes no such prompt or does not say."""
        try:
            told = self.server.ask("/completions", {"model": model, "prompt": prompt, "max_tokens": 1}, stop)
        except ModelError as error:
            if error.key in ("model.remote_not_found", "model.remote_refused", "model.remote_nonsense"):
                return -1
            if error.key == "model.remote_failed":  # some do not refuse what they cannot read, but stumble over it
                return -1
            raise
        usage = told.get("usage")
        return int(usage.get("prompt_tokens") or -1) if isinstance(usage, dict) else -1

    def _body(self, model: str, form: Form, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": model,
            "stream": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if form == "messages":
            stops: tuple[str, ...] = prompt.stop_texts
            body["messages"] = [{**one, "content": neutral(one["content"])} for one in prompt.messages]
            if sampling.logprobs is not None:
                body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
        else:
            stops = (*prompt.stop_texts, *self._stop_marks(prompt))
            text = self.layout("auto", "silent").decode(prompt.ids)
            begin = (self.tokenizer().bos_token or "") if form == "text-after-begin" else ""
            body["prompt"] = list(prompt.ids) if form == "tokens" else text.removeprefix(begin)
            if sampling.logprobs is not None:
                body["logprobs"] = max(1, sampling.logprobs)
        if stops:
            body["stop"] = list(stops[:MOST_STOPS])
        return body

    def _events(
        self, path: str, body: dict[str, Any], more: dict[str, Any], stop: threading.Event
    ) -> Generator[dict[str, Any], None, None]:
        """What the server tells. One that refuses what is no part of the protocol is asked without it from now on."""
        if body["model"] not in self._plain:
            try:
                yield from self.server.stream(path, body | more, stop)
                return
            except ModelError as error:
                if error.key != "model.remote_refused":
                    raise
        yield from self.server.stream(path, body, stop)
        self._plain.add(body["model"])

    def _stop_marks(self, prompt: Prompt) -> tuple[str, ...]:
        """What ends an answer, as a server may write it out."""
        return tuple(self.tokenizer().convert_ids_to_tokens(sorted(prompt.stop_ids)))


def neutral(text: str) -> str:
    """A text that holds no control sequence of any model that we know of: the server's tokenizer is not here."""
    return FOREIGN.sub(lambda found: inert(found.group()), text)


def _more(form: Form, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
    """What is no part of OpenAI's protocol and most servers know, under the names of vLLM and of llama.cpp.

    All of it is said, the filters that are off as well: llama.cpp has defaults of its own.
    """
    penalty = sampling.repetition_penalty
    more: dict[str, Any] = {
        "stream_options": {"include_usage": True},
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": penalty,
        "repeat_penalty": penalty,
    }
    if sampling.dry_multiplier > 0:
        more |= {
            "dry_multiplier": sampling.dry_multiplier,
            "dry_base": sampling.dry_base,
            "dry_allowed_length": sampling.dry_allowed_length,
            "dry_sequence_breakers": list(sampling.dry_breakers),
        }
    if form == "messages":
        more["chat_template_kwargs"] = {"enable_thinking": prompt.opens_thought, "thinking": prompt.opens_thought}
    return more


def _served(told: dict[str, Any]) -> Served:
    """One entry of a list of models, of vLLM (`max_model_len`, `parent`) or llama.cpp (`meta.n_ctx`)."""
    meta = told.get("meta") if isinstance(told.get("meta"), dict) else {}
    context = told.get("max_model_len") or (meta or {}).get("n_ctx") or 0
    context = context if isinstance(context, int) and not isinstance(context, bool) and context > 0 else 0
    return Served(str(told["id"])[:200], str(told.get("parent") or ""), context)


def _names(folder: Path) -> list[str]:
    """What an adapter may be called on a server: its folder or its run's, its run's name, its persona."""
    config = read_json(folder.parent / "config.json")
    run = config.get("name") if isinstance(config, dict) else ""
    names = [folder.name, folder.parent.name, str(run or ""), str(read_card(folder).get("persona") or "")]
    plain = ("", "final_model", "checkpoints", "runs", "adapters")
    return list(dict.fromkeys(name.lower() for name in names if name not in plain))


def _listed(names: Sequence[str]) -> str:
    return "、".join(name for name in names[:8]) or "-"
