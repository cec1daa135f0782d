"""Publishing from the app: one order at a time, in a thread of its own, so that a closed page stops nothing.

Makes, proves, looks through and sends; who asks sees how far it is. A token lives as long as its order. Knows no page.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from anime_ai.config import Settings
from anime_ai.dataset.rows import Row
from anime_ai.errors import AnimeAIError, PublishError
from anime_ai.persona.cards import Persona
from anime_ai.publishing.bundles import SUFFIX, Bundles
from anime_ai.publishing.checks import check_leaves
from anime_ai.publishing.folders import Made, make, make_dataset, size_of
from anime_ai.publishing.hub import HubAccount, Kind, Repository, Sent
from anime_ai.publishing.proving import prove_adapter
from anime_ai.publishing.spaces import make_space
from anime_ai.publishing.trained import Trained
from anime_ai.publishing.whole import save

What = Literal["adapter", "merged", "gguf", "dataset", "bundle", "space", "studio"]
WHATS: tuple[What, ...] = ("adapter", "merged", "gguf", "dataset", "bundle", "space", "studio")
State = Literal["", "making", "sending", "finished", "stopped", "failed"]
STUDIO = "studio.zip"
log = logging.getLogger("anime_ai.publishing")


@dataclass(frozen=True)
class Order:
    """What is to be made, of what, and where it is to be sent ("" for a folder of this machine alone)."""

    what: What
    adapter: Path | None = None
    persona: Persona | None = None
    dataset: tuple[str, Sequence[Row]] = ("", ())
    bases: Sequence[str] = ()
    characters: Sequence[str] = ()
    gguf_type: str = "q8_0"
    repository: str = ""
    public: bool = False
    token: str = field(default="", repr=False)


@dataclass(frozen=True)
class Progress:
    """How far it is: steps while it is made, bytes while it is sent. `made`: the folder or file that it became."""

    what: str = ""
    state: State = ""
    done: int = 0
    total: int = 0
    made: Path | None = None
    bytes: int = 0
    equal: int = 0
    asked: int = 0
    sent: Sent | None = None
    error: AnimeAIError | None = None

    @property
    def active(self) -> bool:
        return self.state in ("making", "sending")


class Publisher:
    """See the module."""

    def __init__(self, settings: Settings, bundles: Bundles, account: Callable[[str], HubAccount] = HubAccount) -> None:
        self.settings, self.bundles, self._account = settings, bundles, account
        self.folder = settings.output_dir / "published"
        self._now = Progress()
        self._stop = threading.Event()
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None

    def now(self) -> Progress:
        return self._now

    def start(self, order: Order) -> None:
        """Begin. Raises PublishError while another order is at work, or where something is missing."""
        if order.what not in WHATS:
            raise PublishError("publishing.kind", kind=str(order.what)[:20], known="、".join(WHATS))
        if order.what in ("adapter", "merged", "gguf", "space") and order.adapter is None:
            raise PublishError("publishing.choose_adapter")
        with self._changing:
            if self._now.active:
                raise PublishError("publishing.busy")
            self._stop = threading.Event()
            self._now = Progress(order.what, "making")
        self._thread = threading.Thread(target=self._work, args=(order,), name="publishing", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End what is at work at its next step."""
        self._stop.set()

    def wait(self, seconds: float) -> Progress:
        """How far it is, at its end or after some seconds."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._now

    def close(self) -> None:
        self.stop()
        self.wait(10.0)

    def _work(self, order: Order) -> None:
        try:
            made = self._make(order)
            parity = made.parity
            proved = {"equal": parity.equal, "asked": parity.total} if parity else {}
            self._tell(made=made.folder, bytes=made.bytes, **proved)
            if order.repository and order.what != "studio":
                self._tell(state="sending", done=0, total=0)
                self._tell(sent=self._send(order, made))
            self._tell(state="finished")
        except AnimeAIError as error:
            self._tell(state="stopped" if error.key == "publishing.stopped" else "failed", error=error)
        except Exception as error:
            log.exception("publishing failed")
            self._tell(state="failed", error=PublishError("publishing.failed", why=type(error).__name__))

    def _make(self, order: Order) -> Made:
        settings, target = self.settings, self.folder / order.what
        if order.what == "dataset":
            return make_dataset(*order.dataset, target, settings)
        if order.what == "studio":
            file = save(settings, self.folder / STUDIO, self._step)
            return Made(file, order.what, file.stat().st_size)
        trained = Trained.open(order.adapter, settings) if order.adapter else None
        if order.what in ("bundle", "space"):
            return self._make_bundle(order, trained, target)
        assert trained is not None
        return make(trained, order.what, target, settings, order.gguf_type, self._step)

    def _make_bundle(self, order: Order, trained: Trained | None, target: Path) -> Made:
        if order.persona is None:
            raise PublishError("publishing.choose_persona")
        proof = prove_adapter(trained, self.settings, self._step) if trained else None
        file = self.folder / "bundle" / f"{order.persona.id}{SUFFIX}"
        self.bundles.pack(order.persona, file, trained, order.bases, order.characters, self._step)
        if order.what == "bundle":
            return Made(file, order.what, file.stat().st_size, proof)
        assert trained is not None
        make_space(order.persona, file, trained.base.id, target)
        check_leaves(target, self.settings, order.token)
        return Made(target, order.what, size_of(target), proof)

    def _send(self, order: Order, made: Made) -> Sent:
        kinds: dict[str, Kind] = {"dataset": "dataset", "space": "space"}
        kind = kinds.get(order.what, "model")
        check_leaves(made.folder, self.settings, order.token)
        to = Repository(order.repository, kind, private=not order.public)
        return self._account(order.token).push(made.folder, to, self._sending, self._stop)

    def _step(self, done: int, total: int) -> None:
        if self._stop.is_set():
            raise PublishError("publishing.stopped")
        self._tell(done=done, total=total)

    def _sending(self, done: int, total: int) -> None:
        self._tell(done=done, total=total)

    def _tell(self, **changes: object) -> None:
        self._now = replace(self._now, **changes)  # type: ignore[arg-type]
