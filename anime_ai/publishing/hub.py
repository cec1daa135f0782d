"""Folders to the Hub, or to whatever speaks its language at `HF_ENDPOINT`, with the user's own token. Knows no model.

The token is in no message, no log and no file. Large files go by plain HTTP, which mirrors understand as well.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from anime_ai.errors import PublishError
from anime_ai.files import files_of

Kind = Literal["model", "dataset", "space"]
Tell = Callable[[int, int], None]
"""Told bytes that were sent, of how many."""
MESSAGE = "Anime AI Studio"
log = logging.getLogger("anime_ai.publishing")


@dataclass(frozen=True)
class Repository:
    """A place on the Hub: `name` is OWNER/NAME or, for who holds the token, NAME alone."""

    name: str
    kind: Kind = "model"
    private: bool = True


@dataclass(frozen=True)
class Sent:
    """What arrived, and where it can be looked at."""

    repository: str
    address: str
    files: int
    bytes: int


class HubAccount:
    """Whoever holds a token. Every call raises PublishError in words that say what to do."""

    def __init__(self, token: str = "", endpoint: str = "") -> None:
        from huggingface_hub import HfApi, constants, get_token

        self._token = (token or get_token() or "").strip()
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        if not self._token:
            raise PublishError("publishing.no_token")
        self._api = HfApi(endpoint=self.endpoint, token=self._token)

    def __repr__(self) -> str:
        return f"HubAccount({self.endpoint})"

    def name(self) -> str:
        """Whose token it is."""
        with self._said():
            return str(self._api.whoami().get("name") or "")

    def push(
        self,
        source: Path,
        to: Repository,
        tell: Tell | None = None,
        stop: threading.Event | None = None,
        must_be_private: bool = False,
    ) -> Sent:
        """A file, or everything in a folder, as one commit; the repository is made where there is none, and its other
        files stay.

        `must_be_private`: nothing is sent unless the Hub says that nobody else can read it.
        """
        from huggingface_hub import CommitOperationAdd

        folder, files = files_of(source)
        if not files:
            raise PublishError("publishing.nothing", path=source)
        name = self._made(to)
        if must_be_private and not self.is_private(name, to.kind):
            raise PublishError("publishing.not_private", name=name)
        total = sum(file.stat().st_size for file in files)
        count = _Count(2 * total, tell, stop or threading.Event())  # read once to be hashed, once to be sent
        with ExitStack() as opened, self._said(name):
            adding = [
                CommitOperationAdd(
                    file.relative_to(folder).as_posix(), opened.enter_context(_Counted(io.FileIO(file), count))
                )
                for file in files
            ]
            self._api.create_commit(name, adding, commit_message=MESSAGE, repo_type=to.kind)
        count.finish()
        prefix = {"model": "", "dataset": "datasets/", "space": "spaces/"}[to.kind]
        return Sent(name, f"{self.endpoint}/{prefix}{name}", len(files), total)

    def is_private(self, name: str, kind: Kind) -> bool:
        with self._said(name):
            return self._api.repo_info(name, repo_type=kind).private is True

    def squash(self, name: str, kind: Kind) -> None:
        """Make one commit of a repository's history: what was replaced takes no room any more."""
        with self._said(name):
            self._api.super_squash_history(name, repo_type=kind)

    def fetch(self, name: str, kind: Kind, file: str, folder: Path) -> Path | None:
        """One file of a repository into a folder; None where the repository or the file is not there."""
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

        with self._said(name):
            try:
                found = self._api.hf_hub_download(name, file, repo_type=kind, local_dir=folder)
            except LocalEntryNotFoundError:  # a kind of EntryNotFoundError, but nobody answered
                raise
            except (EntryNotFoundError, RepositoryNotFoundError):
                return None
            return Path(found)

    def _made(self, to: Repository) -> str:
        """The whole name of a repository that is there now."""
        from anime_ai.models.hub import is_hub_id

        name = to.name.strip()
        if name and "/" not in name:
            name = f"{self.name()}/{name}"
        if not is_hub_id(name):
            raise PublishError("publishing.repository", name=to.name[:80])
        space: dict[str, Any] = {"space_sdk": "gradio"} if to.kind == "space" else {}
        with self._said(name):
            self._api.create_repo(name, repo_type=to.kind, private=to.private, exist_ok=True, **space)
        return name

    @contextmanager
    def _said(self, name: str = "") -> Iterator[None]:
        """What the Hub answers and the network does, as PublishError without a word of the request."""
        import httpx
        from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

        try:
            yield
        except LocalTokenNotFoundError as error:
            raise PublishError("publishing.no_token") from error
        except PublishError:
            raise
        except Exception as error:
            # The library wraps what happened to one of several files.
            inner = next((one for one in _causes(error) if isinstance(one, (PublishError, HfHubHTTPError))), error)
            if isinstance(inner, PublishError):
                raise inner from None
            if isinstance(inner, HfHubHTTPError):
                raise self._refused(inner.response.status_code, name) from None
            known = (httpx.HTTPError, OSError, ValueError, RuntimeError)
            if not isinstance(inner, known):
                raise
            why = str(inner).replace(self._token, "***").splitlines()
            log.info("the hub: %s", type(inner).__name__)
            said = f"{type(inner).__name__}: {why[0][:160]}" if why else type(inner).__name__
            raise PublishError("publishing.silent", endpoint=self.endpoint, why=said) from None

    def _refused(self, status: int, name: str) -> PublishError:
        if status == 401:
            return PublishError("publishing.bad_token", endpoint=self.endpoint)
        if status in (403, 404):
            return PublishError("publishing.no_right", name=name, endpoint=self.endpoint)
        return PublishError("publishing.silent", endpoint=self.endpoint, why=status)


class _Count:
    """Bytes of all files of a push."""

    def __init__(self, total: int, tell: Tell | None, stop: threading.Event) -> None:
        self.total, self.tell, self.stop = total, tell, stop
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        if self.stop.is_set():
            raise PublishError("publishing.stopped")
        with self._lock:
            self._done = min(self.total, self._done + count)
            done = self._done
        if self.tell is not None:
            self.tell(done // 2, self.total // 2)

    def finish(self) -> None:
        if self.tell is not None:
            self.tell(self.total // 2, self.total // 2)


class _Counted(io.BufferedReader):
    """A file that counts what is read of it."""

    def __init__(self, raw: io.FileIO, count: _Count) -> None:
        super().__init__(raw, 2**20)
        self._count = count

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self._count.add(len(found))
        return found


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
