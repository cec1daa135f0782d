"""Replies: which adapter on which base answers, in whose voice, and where it is kept. Knows no page.

The model is loaded at the first reply; one base is held at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from anime_ai.chat.conversations import Conversation, Conversations
from anime_ai.chat.lore import LoreBooks, as_text, card_text
from anime_ai.chat.lore import as_json as lore_json
from anime_ai.chat.sharing import Sharing
from anime_ai.config import ASSETS, Settings
from anime_ai.errors import AnimeAIError, ModelError, PersonaError
from anime_ai.knowledge.passages import Citation
from anime_ai.knowledge.service import Knowledge, Retrieval
from anime_ai.models.adapters import base_of, read_card
from anime_ai.models.bases import DEFAULT, STARTER, Base, find_base, on_disk
from anime_ai.models.engine import Adapter, Engine, Sampling
from anime_ai.models.engines import open_engine, server_name, starter_answers
from anime_ai.persona.cards import Personas
from anime_ai.persona.lorebook import Lore
from anime_ai.prompting import observation, passages
from anime_ai.texts import text
from anime_ai.training.recipe import SMALL
from anime_ai.training.runs import FINAL, Run

SHIPPED = ASSETS / "starter" / "adapters"
SAVE_EVERY = 0.5
"""Seconds between two saves of an answer that is being written."""
LOOK = "你看看这张图。"
"""What is asked with a picture that comes without a word."""


@dataclass(frozen=True)
class AdapterChoice:
    """An adapter that can answer. `id` "" is the base model alone. `base` is a model name as in the settings."""

    id: str
    label: str
    persona: str
    base: str
    path: Path | None = None


@dataclass(frozen=True)
class Answering:
    """Which model answers: a line for the page. Making one loads nothing."""

    label: str
    starter: bool
    loaded: bool
    notice: str


@dataclass(frozen=True)
class Attached:
    """A picture that a message brings along: its id in the album, and what is seen in it, in a sentence."""

    picture_id: str
    sentence: str


@dataclass(frozen=True)
class Reply:
    """Her answer so far (not a delta). `stopped`: she did not come to the end; `cut`: it ended inside a thought.

    `cited`: when it is done, which stretches of it rest on which of the passages that she was given.
    """

    message_id: str
    text: str
    thinking: str = ""
    done: bool = False
    stopped: bool = False
    cut: bool = False
    tokens: int = 0
    cited: tuple[Citation, ...] = ()


class Chat:
    """See the module. `runs` tells the training runs, newest first."""

    def __init__(
        self,
        settings: Settings,
        conversations: Conversations,
        personas: Personas,
        knowledge: Knowledge,
        runs: Callable[[], list[Run]],
        books: LoreBooks | None = None,
    ) -> None:
        self.settings = settings
        self.books = books
        self.knowledge = knowledge
        self.conversations = conversations
        self.personas = personas
        self._runs = runs
        self.sharing = Sharing(runs)
        self._engine: Engine | None = None
        self._aside = False
        self._choosing = threading.Lock()
        self._entering = threading.Lock()
        self._answering: set[tuple[str, str]] = set()

    def adapters(self, persona: str = "") -> list[AdapterChoice]:
        """What can answer: this persona's adapters first, newest first, then the others, and the base model last."""
        found: list[AdapterChoice] = []
        for run in self._runs():
            if run.adapter is not None:
                label = run.name or run.id[:8]
                found.append(AdapterChoice(f"run:{run.id}", label, run.persona, base_of(run.adapter), run.adapter))
        final = self.settings.output_dir / FINAL
        if (final / "adapter_config.json").is_file():
            found.append(_of_folder("final", final, FINAL))
        if self._base_name() == STARTER:  # beside a real model nobody looks for the starter's adapters
            for file in sorted(SHIPPED.glob("*/adapter_config.json")):
                id = file.parent.name
                found.append(_of_folder(f"shipped:{id}", file.parent, self.personas.find(id).character))
        found.sort(key=lambda choice: choice.persona != persona)
        return [*found, AdapterChoice("", self._base_name(), "", self.settings.model_name)]

    def answering(self, adapter_id: str = "", language: str | None = None) -> Answering:
        """The line that names the model that answers, honestly about the starter."""
        choice = self.choice(adapter_id)
        name = self._base_name() if choice.base == "auto" else choice.base
        server = server_name(self.settings)
        starter = name == STARTER and not server
        if server:
            name = self.settings.remote_model or text("chat.its_model", language)
            label = text("chat.answering_there", language, server=server, base=name)
        else:
            label = text("chat.answering", language, base=text("model.starter", language) if starter else name)
        if choice.id:
            label = text("chat.answering_with", language, answering=label, adapter=choice.label)
        engine = self._engine
        here = engine is not None and (bool(server) or name in (engine.base.id, str(engine.base.path)))
        notices = [text("chat.starter_notice", language)] * starter
        notices += [text("chat.on_cpu_meanwhile", language)] * self._aside
        notices += [text("chat.leaves_this_machine", language, server=server)] * bool(server)
        return Answering(label, starter, engine is not None and here and engine.loaded, " ".join(notices))

    def choice(self, adapter_id: str) -> AdapterChoice:
        """The choice with this id. Raises ModelError when it is gone."""
        for choice in self.adapters():
            if choice.id == adapter_id:
                return choice
        raise ModelError("model.unknown_adapter", adapter=adapter_id)

    def reply(
        self,
        person: str,
        conversation_id: str,
        message: str,
        adapter_id: str = "",
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
        stop: threading.Event | None = None,
        think: str | None = None,
        picture: Attached | None = None,
    ) -> Iterator[Reply]:
        """Her answer to `message` as it grows, kept in the conversation from the first word on. What is seen in
        `picture` stays in this turn, so that later questions can be about it.

        Closing the iterator ends the generation within a token and keeps what there is. Raises AnimeAIError for what
        the user can mend; one conversation answers one message at a time.
        """
        said = message.strip() or (LOOK if picture else "")
        if not said:
            raise AnimeAIError("chat.blank")
        choice = self.choice(adapter_id)
        with self._alone(person, conversation_id):
            conversation = self.conversations.get(person, conversation_id)
            # A small model reads one thing at a time.
            small = self._reads_little(choice)
            lore = Lore() if picture and small else self.lore_of(conversation, said, choice)
            bases = [] if small and (picture or lore.told) else self.bases_of(person, conversation)
            found = self.knowledge.retrieve(said, bases, small)
            brought, meta = _brought(found, picture, lore, small)
            self.conversations.append(person, conversation_id, "user", said, meta=meta)
            pieces = self._speak(conversation, said, choice, sampling, stop or threading.Event(), think, brought)
            cite = partial(self.knowledge.cite, retrieval=found, base_ids=bases)
            yield from self._keep(person, conversation_id, choice, pieces, cite)

    def lore_of(self, conversation: Conversation, said: str, choice: AdapterChoice) -> Lore:
        """What the books of a conversation's persona say to a question. Raises PersonaError for one who was removed."""
        if self.books is None:
            return Lore()
        persona = self.personas.named(conversation.persona)
        if persona is None and self.personas.is_removed(conversation.persona):
            raise PersonaError("persona.removed", name=conversation.persona)
        base = find_base(choice.base, self.settings)

        def count(text: str) -> int:  # only where something fires: a tokenizer takes a while to load
            return self.engine(base).layout(self.settings.prompt_format, self.settings.think).length(text)

        return self.books.look(persona, conversation, said, count, self._reads_little(choice))

    def bases_of(self, person: str, conversation: Conversation) -> list[str]:
        """The knowledge bases that a conversation asks: those chosen for it, else all for this persona."""
        readable = [base.id for base in self.knowledge.library.bases(person, conversation.persona)]
        if conversation.knowledge is None:
            return readable
        return [base_id for base_id in readable if base_id in conversation.knowledge]

    def _reads_little(self, choice: AdapterChoice) -> bool:
        base = find_base(choice.base, self.settings)
        return self.settings.engine != "remote" and base.parameters() < SMALL

    def ask(
        self,
        question: str,
        persona: str,
        adapter_id: str = "",
        sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
        stop: threading.Event | None = None,
    ) -> Iterator[Reply]:
        """One answer without a conversation; nothing is kept."""
        if not question.strip():
            raise AnimeAIError("chat.blank")
        fresh = Conversation("", persona, "", (), 0.0)
        choice = self.choice(adapter_id)
        total = None
        pieces = self._speak(fresh, question.strip(), choice, sampling, stop or threading.Event(), None)
        try:
            for total in pieces:
                yield _reply("", total)
        finally:
            pieces.close()
        if total is not None:
            yield _reply("", total, done=True)

    def engine(self, base: Base) -> Engine:
        """The engine of a base model; a second base takes the place of the first. While a training has the GPU for
        itself it answers from the processors."""
        from anime_ai.models.device import cpu_device

        aside = self.settings.engine != "remote" and self.sharing.crowded(base)
        with self._choosing:
            if self._engine is None or self._engine.base != base or self._aside != aside:
                if self._engine is not None:
                    self._engine.close()
                device = cpu_device() if aside else None
                self._engine, self._aside = open_engine(self.settings, base, device), aside
            return self._engine

    def close(self) -> None:
        """Let go of the model."""
        with self._choosing:
            if self._engine is not None:
                self._engine.close()
            self._engine = None

    def make_room(self) -> None:
        """Let go of the model where it is on a GPU: a training is about to start there. The next answer loads it again,
        wherever there is room."""
        with self._choosing:
            device = self._engine.device if self._engine else None
            if self._engine is not None and device is not None and device.kind == "cuda":
                self._engine.close()
                self._engine = None

    def _base_name(self) -> str:
        if self.settings.model_name != "auto":
            return self.settings.model_name
        return DEFAULT if on_disk(DEFAULT) else STARTER

    def _speak(
        self,
        conversation: Conversation,
        question: str,
        choice: AdapterChoice,
        sampling: Sampling,
        stop: threading.Event,
        think: str | None,
        brought: str = "",
    ) -> Any:
        """A generator of `Spoken` totals."""
        from langchain_core.messages import AIMessage, BaseMessage

        from anime_ai.chat.chain import Spoken, asked, reply_chain
        from anime_ai.chat.model import EngineChatModel

        engine = self.engine(find_base(choice.base, self.settings))
        trained = read_card(choice.path) if choice.path else {}
        model = EngineChatModel(
            engine=engine,
            adapter=Adapter(choice.path) if choice.path else None,
            prompt_format=str(trained.get("prompt_format") or self.settings.prompt_format),
            think=think or str(trained.get("think") or self.settings.think),
            sampling=sampling,
            cache_key=conversation.id,
            stopping=stop,
            tiny=starter_answers(self.settings, engine.base),
        )
        check_layout(trained, engine, model)
        history: list[BaseMessage] = []
        for said in conversation.messages:
            if said.content:
                user = said.role == "user"
                history += asked(said.content, said.meta.get("brought", "")) if user else [AIMessage(said.content)]
        # She knows what she said first: the page shows it at the head of every conversation that she has a card for.
        greeting = self.personas.greeting(conversation.persona) if conversation.id else ""
        if greeting and not (history and isinstance(history[0], AIMessage)):
            history.insert(0, AIMessage(greeting))
        values = {
            "card": self._card(conversation, engine, model, trained),
            "history": history,
            "question": asked(question, brought),
        }
        total = Spoken()
        with closing(reply_chain(model).stream(values)) as stream:  # type: ignore[type-var]
            for spoken in stream:
                total = total + spoken
                yield total

    def _card(self, conversation: Conversation, engine: Engine, model: Any, trained: dict[str, Any]) -> str:
        """What stands at the head of the prompt: her line, the one that an adapter was trained with, or her card."""
        persona = self.personas.named(conversation.persona)
        if persona is None or persona.system_line:
            return self.personas.system_line(conversation.persona)
        if trained.get("persona") == persona.name:
            return str(trained.get("system_line") or self.personas.system_line(persona.name))
        layout = engine.layout(model.prompt_format, model.think)
        return card_text(persona, conversation.id, layout.length, engine.context_length())

    def _keep(
        self,
        person: str,
        conversation_id: str,
        choice: AdapterChoice,
        pieces: Any,
        cite: Callable[[str], list[Citation]],
    ) -> Iterator[Reply]:
        meta: dict[str, Any] = {"adapter": choice.id, "base": choice.base, "done": False}
        message_id, total, saved = "", None, 0.0
        cited: list[Citation] = []
        try:
            for total in pieces:
                if not (total.text or total.thinking):
                    continue
                if not message_id:
                    kept = self.conversations.append(person, conversation_id, "assistant", total.text, meta=meta)
                    message_id, saved = kept.id, time.monotonic()
                elif time.monotonic() - saved > SAVE_EVERY:
                    self.conversations.update(person, message_id, total.text, total.thinking)
                    saved = time.monotonic()
                yield _reply(message_id, total)
        finally:
            pieces.close()
            if message_id and total is not None:
                cited = cite(total.text)
                done = {**meta, "done": total.ended, "tokens": total.tokens}
                if cited:
                    done["cited"] = [astuple(one) for one in cited]
                self.conversations.update(person, message_id, total.text, total.thinking, done)
        if total is not None:
            yield replace(_reply(message_id, total, done=True), cited=tuple(cited))

    @contextmanager
    def _alone(self, person: str, conversation_id: str) -> Iterator[None]:
        with self._entering:
            if (person, conversation_id) in self._answering:
                raise AnimeAIError("chat.busy")
            self._answering.add((person, conversation_id))
        try:
            yield
        finally:
            self._answering.discard((person, conversation_id))


def check_layout(trained: dict[str, object], engine: Engine, model: Any) -> None:
    """Raise ModelError when an adapter was trained on another prompt layout than it would now be asked in."""
    if trained.get("layout") and model.think == trained.get("think"):
        layout = engine.layout(model.prompt_format, model.think)
        if layout.fingerprint() != trained["layout"]:
            raise ModelError("model.adapter_layout", trained=trained["layout"], now=layout.fingerprint())


def _brought(found: Retrieval, picture: Attached | None, lore: Lore, small: bool) -> tuple[str, dict[str, Any]]:
    """What a turn brings along, and what its message keeps of it."""
    parts = [as_text(lore, small), passages(passage.told() for passage in found.used)]
    meta: dict[str, Any] = {"retrieval": as_json(found)} if found.passages else {}
    if fired := lore_json(lore):
        meta["lore"] = fired
    if picture:
        parts.append(observation(picture.sentence))
        meta["picture"] = asdict(picture)
    brought = "\n".join(part for part in parts if part)
    return brought, {**meta, "brought": brought} if meta else {}


def as_json(found: Retrieval) -> dict[str, Any]:
    """What was found for a question, as a message keeps it."""
    return {"question": found.question, "why": found.why, "passages": [asdict(one) for one in found.passages]}


def _of_folder(id: str, folder: Path, label: str) -> AdapterChoice:
    return AdapterChoice(id, label, str(read_card(folder).get("persona", "")), base_of(folder), folder)


def _reply(message_id: str, total: Any, done: bool = False) -> Reply:
    return Reply(
        message_id,
        total.text,
        total.thinking,
        done=done,
        stopped=done and not total.ended,
        cut=done and total.cut,
        tokens=total.tokens,
    )
