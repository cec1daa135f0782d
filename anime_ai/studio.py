"""All services in one object: what the page, the command line and a notebook open. Knows no Gradio.

Opening it loads no model.

from anime_ai.studio import Studio
with Studio.open() as studio:
    print(studio.say("你喜欢什么动漫？", persona="傲娇"))
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anime_ai.chat.conversations import Conversations
from anime_ai.chat.feedback import Feedback
from anime_ai.chat.listening import Listening
from anime_ai.chat.lore import LoreBooks
from anime_ai.chat.memory import Memory
from anime_ai.chat.provenance import Provenance
from anime_ai.chat.rounds import Rounds
from anime_ai.chat.samplings import Samplings
from anime_ai.chat.search import Search
from anime_ai.chat.service import Chat
from anime_ai.chat.turns import How
from anime_ai.config import DATA, Settings
from anime_ai.dataset.snapshots import Snapshots
from anime_ai.dataset.store import Datasets
from anime_ai.errors import AnimeAIError
from anime_ai.knowledge.service import Knowledge
from anime_ai.models.bases import DEFAULT, KNOWN, STARTER, Base, find_base, names_gguf, on_disk
from anime_ai.models.conversions import Conversions
from anime_ai.models.device import let_threads_sleep
from anime_ai.models.downloads import Downloads
from anime_ai.models.engine import Sampling
from anime_ai.models.ggufs import Ggufs
from anime_ai.models.lent import TRAINING_S, lender
from anime_ai.models.shelf import Shelf
from anime_ai.persona.library import PersonaLibrary
from anime_ai.persona.world_books import WorldBooks
from anime_ai.prompting import Layout
from anime_ai.publishing.bundles import Bundles
from anime_ai.publishing.publisher import Publisher
from anime_ai.publishing.state import StateKeeping, fetch_state
from anime_ai.serving.completions import Completions
from anime_ai.serving.keys import Keys
from anime_ai.serving.meter import Meter
from anime_ai.serving.quotas import Quotas
from anime_ai.storage import Database
from anime_ai.training import runs
from anime_ai.training.queue import RunQueue
from anime_ai.vision.models import wanted
from anime_ai.vision.service import Vision

log = logging.getLogger("anime_ai.studio")


@dataclass(frozen=True)
class BaseChoice:
    """A base model that the training page offers. `present`: it is on this disk."""

    id: str
    present: bool
    starter: bool


class Studio:
    """The services over one output folder. Close it, or use it as a context."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.shelf = Shelf(settings, wanted)
        self.downloads = Downloads(settings, wanted, self.shelf.remember)
        if settings.model_name == "auto" and self.shelf.base:
            settings.model_name = self.shelf.base
        self.datasets = Datasets(database)
        self.snapshots = Snapshots(database)
        self.conversations = Conversations(database, settings.visitor_conversations)
        self.personas = PersonaLibrary(database, settings.studio_dir / "personas")
        self.worlds = WorldBooks(database)
        self.samplings = Samplings(database)
        self.search = Search(database)
        self.feedback = Feedback(database, self.conversations, self.datasets, self.personas)
        self.knowledge = Knowledge(settings, database)
        self.vision = Vision(settings, database, self.knowledge.semantic.vectors)
        self.state = StateKeeping(settings)
        self.bundles = Bundles(settings, self.personas, self.knowledge, self.vision)
        self.publisher = Publisher(settings, self.bundles)
        self._start_run = self._starter_of_runs()
        self.runs = RunQueue(settings, self._launch, self.personas)
        self.meter = Meter(database)
        self.keys = Keys(database, self.meter)
        self.provenance = Provenance(self.datasets, self.snapshots, self.runs.list)
        self.quotas = Quotas(settings, self.meter)
        self._layouts: dict[Base, Layout] = {}
        books = LoreBooks(self.worlds)
        self.chat = Chat(settings, self.conversations, self.personas, self.knowledge, self.runs.list, books)
        self.conversions = Conversions(Ggufs(settings.gguf_dir), self.chat.engines.choose_again)
        self.chat.allowance = self.quotas
        self.memory = Memory(database, self.conversations, lambda talks: self.chat.forget(talks))
        self.chat.memory = self.memory
        self.listening = Listening(lambda: self.chat, self.memory)

    @classmethod
    def open(cls, settings: Settings | None = None) -> Studio:
        """Open the database (migrated where it is older), import what ships, and start the queue.

        Raises StorageError when the folder or the database cannot be used.
        """
        let_threads_sleep()
        settings = settings or Settings.load()
        restored = fetch_state(settings)
        studio = cls(settings, Database.open(settings))
        studio.datasets.import_shipped(DATA / "dataset.json")
        try:
            studio.knowledge.import_shipped(DATA / "knowledge" / "series")
        except Exception:  # a broken library of one tab must not keep the others shut; the next start tries again
            log.exception("the sample documents were not imported")
        if settings.bundle:
            studio._take_bundle(Path(settings.bundle))
        studio.runs.start()
        studio.downloads.begin()
        studio._fetch_reranker()
        studio.state.start(restored)
        return studio

    def close(self) -> None:
        """Let go of everything; trainers at work go on."""
        self.publisher.close()
        self.state.close()
        self.runs.close()
        self.downloads.close()
        self.conversions.close()
        self.listening.close()
        self.chat.close()
        self.knowledge.close()
        self.database.close()

    def __enter__(self) -> Studio:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def rounds(self) -> Rounds:
        """Answers in conversations of several personas."""
        return Rounds(self.chat, self.samplings)

    @property
    def completions(self) -> Completions:
        """Her answers to other programs."""
        return Completions(self.chat, self.personas)

    def bases(self) -> list[BaseChoice]:
        """What can be trained on: the default first, what is on the disk next, then what can be downloaded."""
        own = [one.entry.id for one in self.shelf.list() if one.present and one.entry.kind == "base"]
        names = list(dict.fromkeys(["auto", STARTER, *KNOWN, *own]))
        if self.settings.model_name not in names and not names_gguf(self.settings.model_name):
            names.insert(0, self.settings.model_name)
        choices = [BaseChoice(name, on_disk(name), self._starts(name)) for name in names]
        return sorted(choices, key=lambda choice: not choice.present)

    def use_base(self, id: str) -> None:
        """Chat and train on another base from now on (a GGUF is chatted with alone), after a restart too unless the
        settings name one. Raises ModelError for what is not on this disk or no base."""
        self.settings.model_name = self.shelf.choose_base(id)

    def remove_model(self, id: str) -> None:
        """Delete a model from this disk, or list a person's own no more. One that chats gives way to `auto`. Raises
        ModelError and StorageError."""
        self.shelf.take_away(id)
        if self.settings.model_name == id:
            self.settings.model_name = "auto"

    def say(self, question: str, persona: str = "", adapter_id: str = "", sampling: Sampling | None = None) -> str:
        """Her whole answer to one question."""
        persona = persona or self.settings.persona
        if not adapter_id:
            adapter_id = self.chat.own_adapter(persona)
        answer = ""
        for reply in self.chat.ask(question, persona, adapter_id, sampling or Sampling()):
            answer = reply.text
        return answer

    def chain(self, persona: str = "", adapter_id: str | None = None) -> Any:
        """A persona as a LangChain runnable that takes a question, or the slots of `anime_ai.chat.chain.PROMPT`."""
        return self.chat.chain(persona, None if adapter_id is None else How(adapter_id))

    def layout(self, name: str = "") -> tuple[Base, Layout]:
        """A base on this disk, "" for the one of the settings, and the layout of its prompts. Raises ModelError."""
        from anime_ai.models.transformers_engine import load_tokenizer

        base = find_base(name or self.settings.model_name, self.settings)
        if base not in self._layouts:
            layout = Layout(load_tokenizer(base), self.settings.prompt_format, self.settings.think)
            self._layouts = {base: layout}  # one is enough: a tokenizer of a large vocabulary takes some 100 MB
        return base, self._layouts[base]

    def _fetch_reranker(self) -> None:
        """Begin to fetch the reranker of the settings, where everybody sees it arrive; until then it ranks nothing."""
        reranker = self.knowledge.reranker
        if reranker is not None and reranker.folder is None:
            try:
                self.downloads.start(reranker.name)
            except AnimeAIError as error:  # a search tells it again
                log.warning("the reranker is not fetched: %s", error)

    def _take_bundle(self, file: Path) -> None:
        """The persona of the settings' bundle, for everybody to talk to: taken in once, however often it starts."""
        try:
            persona = self.bundles.take_once(file)
        except (AnimeAIError, OSError) as error:  # the studio opens without her
            log.error("the bundle %s was not taken in: %s", file.name, error)
            return
        if persona is not None:
            self.settings.persona = persona.name

    @staticmethod
    def _starter_of_runs() -> Callable[..., Any]:
        """A process for each run, or slices of it where the GPU is lent."""
        lend = lender(TRAINING_S)
        if lend is None:
            return runs.launch
        from anime_ai.training.slices import launch_in_slices

        return launch_in_slices(lend)

    def _launch(self, folder: Path, lock: Path, resume: bool = False) -> None:
        try:
            self.chat.make_room()
        except Exception:  # a broken driver: the trainer, a process of its own, may still do
            log.exception("no room was made for a training")
        self._start_run(folder, lock, resume, runs.surroundings(self.settings, self.downloads.chosen))

    def _starts(self, name: str) -> bool:
        return name == STARTER or (name == "auto" and not on_disk(DEFAULT))
