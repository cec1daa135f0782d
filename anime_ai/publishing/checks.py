"""What must not leave: local paths, passwords, keys, pickles. Looked for in every file before it goes. Knows no hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from anime_ai.config import Settings
from anime_ai.errors import PublishError
from anime_ai.files import files_of

LOOKED_AT = 2**20
"""Bytes at the head of a file: all of a text, and what a file of weights says of itself."""
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".npz")
_TOKEN = re.compile(rb"hf_[A-Za-z0-9]{30,}")
SHORTEST_SECRET = 6
"""Bytes below which a password is found in too many innocent words."""


def check_leaves(source: Path, settings: Settings, token: str = "", beside: tuple[Path, ...] = ()) -> None:
    """Raise PublishError where `source`, a file or all in a folder, holds a path of this machine, a secret or a pickle.

    `beside`: more folders whose paths nobody should read, such as the base's.
    """
    folder, files = files_of(source)
    paths = {str(path.expanduser().resolve()) for path in (settings.output_dir, Path.home(), folder, *beside)}
    # A short path ("/", "/root") stands in many texts by chance.
    local = [one.encode() for one in paths if len(Path(one).parts) > 2]
    secrets = [one for one in map(str.encode, _secrets(settings, token)) if len(one) >= SHORTEST_SECRET]
    for file in files:
        name = file.relative_to(folder).as_posix()
        if file.suffix.lower() in PICKLES:
            raise PublishError("publishing.pickle", file=name)
        with open(file, "rb") as opened:
            head = opened.read(LOOKED_AT)
        if any(one in head for one in local):
            raise PublishError("publishing.local_path", file=name)
        if _TOKEN.search(head) or any(one in head for one in secrets):
            raise PublishError("publishing.secret", file=name)


def _secrets(settings: Settings, token: str) -> Iterator[str]:
    yield token
    yield settings.owner_password.get_secret_value()
    yield settings.remote_key.get_secret_value()
