"""llama.cpp at work in a child process: starting it, asking it, ending it. Knows slots and token ids, neither
conversations nor prompts.

A slot holds one line of tokens with its keys and values; asking it again reads only what is new behind the common part.
"""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from anime_ai.errors import ModelError
from anime_ai.files import read_json
from anime_ai.models.engine import Likelihood
from anime_ai.models.llama_child import KEY
from anime_ai.processes import Process, current, is_alive, kill_tree, start_module, usable_cpus

STALE = 86_400.0
"""Seconds after which a log that is not written any more is nobody's."""
STARTED_WITHIN = 300.0
"""Seconds that a file of some gigabytes may take on a slow disk."""
SILENT = 120.0
"""Seconds without a word after which the child counts as hung; it tells every few dozen tokens that it reads."""
SMALL = 50_000_000
"""Bytes of a model under which a second thread costs more than it gives."""


@dataclass(frozen=True)
class Loaded:
    """What a child holds: a GGUF file, LoRA files by their place, `cells` of context that its `slots` share."""

    model: Path = Path()
    adapters: tuple[Path, ...] = ()
    cells: int = 4096
    slots: int = 4
    gpu_layers: int = 0


@dataclass(frozen=True)
class Said:
    """New tokens of an answer, with their likelihoods where they were asked for. `ended`: this was all, by the model's
    own end mark. `reused`: prompt tokens that the slot held already, told while the rest is read."""

    ids: tuple[int, ...]
    likelihoods: tuple[Likelihood, ...] = ()
    ended: bool = False
    reused: int = 0


class LlamaServer:
    """One child. Make it, `start` it, `close` it. `folder` holds its log, `folder/states` the slots that are saved."""

    def __init__(self, loaded: Loaded, folder: Path) -> None:
        self.loaded, self.folder = loaded, folder
        self.states = folder / "states"
        # Of this child alone: another program on the same folder has its own.
        self._log = folder / f"llama-{secrets.token_hex(4)}.log"
        self._process: Process | None = None
        self._address = ""
        self._key = ""

    @property
    def alive(self) -> bool:
        return self._process is not None and is_alive(self._process)

    def start(self) -> None:
        """Start the child and wait until it answers. Raises ModelError with llama.cpp's own reason."""
        self.states.mkdir(parents=True, exist_ok=True)
        ready = self.folder / f"ready-{secrets.token_hex(4)}.json"
        self._key = secrets.token_urlsafe(32)
        for log in self.folder.glob("llama-*.log"):  # of one that nobody closed
            with suppress(OSError):
                if time.time() - log.stat().st_mtime > STALE:
                    log.unlink()
        told = {
            "model": str(self.loaded.model),
            "adapters": [str(path) for path in self.loaded.adapters],
            "cells": self.loaded.cells,
            "slots": self.loaded.slots,
            "gpu_layers": self.loaded.gpu_layers,
            "threads": 1 if self.loaded.model.stat().st_size < SMALL else usable_cpus(),
            "states": str(self.states),
            "ready": str(ready),
            "parent": list(astuple(current())),
        }
        arguments = [json.dumps(told)]
        self._process = start_module("anime_ai.models.llama_child", arguments, self._log, env={KEY: self._key})
        try:
            self._address = self._wait(ready)
        except BaseException:
            self.close()
            raise
        finally:
            ready.unlink(missing_ok=True)

    def close(self) -> None:
        """End the child, whatever it is doing."""
        if self._process is not None:
            kill_tree(self._process, grace_s=0.0)
            with suppress(OSError):  # Windows may still hold it; it goes as a stale one then
                self._log.unlink()
        self._process = None

    def read(self, slot: int, ids: tuple[int, ...], scales: list[float]) -> Generator[Said, None, None]:
        """Read tokens into a slot, answering nothing. Closing the iterator ends the reading."""
        return self.complete(slot, ids, scales, {"n_predict": 0})

    def complete(
        self, slot: int, ids: tuple[int, ...], scales: list[float], options: dict[str, Any]
    ) -> Generator[Said, None, None]:
        """An answer behind `ids`, adapters at `scales` by their places (zeros are said, too: the last ones would stay).

        `options` are llama.cpp's names (https://github.com/ggml-org/llama.cpp/tree/master/tools/server). Closing the
        iterator ends the answer within a token, the reading within `llama_child.READ` of them. Raises ModelError.
        """
        body = {
            "prompt": list(ids),
            "id_slot": slot,
            "lora": [{"id": place, "scale": scale} for place, scale in enumerate(scales)],
            "cache_prompt": True,
            "stream": True,
            "return_tokens": True,
            "return_progress": True,
            **options,
        }
        with self._asked("/completion", body) as answer:
            for line in answer:
                kind, _, data = line.partition(b": ")
                if not data.strip():
                    continue
                event = json.loads(data)
                if "error" in event or kind == b"error":
                    raise self._failed(data)
                yield _said(event)
                if event.get("stop"):
                    return
            raise self._gone(EOFError("cut short"))

    def save(self, slot: int, name: str) -> int:
        """Save a slot's tokens with their keys and values as `states/name`; the number of tokens."""
        return int(self._slot("save", slot, name).get("n_saved", 0))

    def restore(self, slot: int, name: str) -> int:
        """The other way round. The file must be whole: llama.cpp ends the process over a broken one."""
        return int(self._slot("restore", slot, name).get("n_restored", 0))

    def erase(self, slot: int) -> None:
        """Empty a slot in which nobody is answered."""
        self._slot("erase", slot, "")

    def _slot(self, action: str, slot: int, name: str) -> dict[str, Any]:
        with self._asked(f"/slots/{slot}?action={action}", {"filename": name}) as answer:
            return dict(json.loads(answer.read()))

    @contextmanager
    def _asked(self, path: str, body: dict[str, Any]) -> Iterator[http.client.HTTPResponse]:
        """An answer of the child. One connection each: it closes those that were idle for long, or used often, just
        when they are used again. Raises ModelError, also for what goes wrong while the answer is read."""
        if self._process is None or not self.alive:
            raise ModelError("model.llama_gone", why=self._reason() or "…")
        # Plain, because each token passes here: a client with pools and hooks takes a share of the model's own time.
        host = self._address.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=SILENT)
        try:
            headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(body).encode(), headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise self._failed(answer.read())
            yield answer
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            raise self._gone(error) from error
        finally:
            connection.close()

    def _wait(self, ready: Path) -> str:
        assert self._process is not None
        end = time.monotonic() + STARTED_WITHIN
        while time.monotonic() < end:
            told = read_json(ready)
            if isinstance(told, dict):
                return str(told["address"])
            if not is_alive(self._process):
                break
            time.sleep(0.01)
        why = self._reason()
        raise ModelError(
            "model.llama_start" if why else "model.llama_start_silent", name=self.loaded.model.name, why=why
        )

    def _gone(self, error: Exception) -> ModelError:
        # A connection is reset some moments before the process counts as ended.
        end = time.monotonic() + 1.0
        while self.alive and not isinstance(error, json.JSONDecodeError) and time.monotonic() < end:
            time.sleep(0.02)
        return ModelError("model.llama_gone", why=self._reason() or str(error) or type(error).__name__)

    def _failed(self, told: bytes) -> ModelError:
        message = told.decode("utf-8", "replace")[:200]
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            found = json.loads(told)
            message = str(found.get("error", found)["message"])[:200]
        return ModelError("model.llama_refused", why=message)

    def _reason(self) -> str:
        """The first error in the child's log: what comes behind it follows from it."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        for line in lines:
            _, mark, said = line.partition(" E ")
            if mark:
                return said.rpartition("error loading model: ")[2].strip().replace(str(self.loaded.model), "…")[:200]
        return lines[-1].strip()[:200] if lines and "Error" in lines[-1] else ""


def _said(event: dict[str, Any]) -> Said:
    if "prompt_progress" in event:
        return Said((), reused=int(event["prompt_progress"]["cache"]))  # it carries a token 0 that nobody said
    likelihoods = tuple(_likelihood(one) for one in event.get("completion_probabilities") or ())
    ids = tuple(int(id) for id in event.get("tokens") or ())
    return Said(ids, likelihoods, event.get("stop_type") == "eos")


def _likelihood(told: dict[str, Any]) -> Likelihood:
    best = tuple(_likelihood(one) for one in told.get("top_logprobs") or ())
    return Likelihood(int(told["id"]), str(told["token"]), float(told["logprob"]), best)
