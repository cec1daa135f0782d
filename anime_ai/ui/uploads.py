"""Files that a page sent, until they were read. Knows no handler."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def discard(files: Iterable[Path]) -> None:
    """Delete what Gradio keeps of an upload: it would lie there until the next start, and a picture's file tells where
    it was taken. No other file is touched."""
    cache = os.environ.get("GRADIO_TEMP_DIR")
    for file in files if cache else ():
        if Path(str(cache)).resolve() in file.resolve().parents:
            with suppress(OSError):
                file.unlink()


@contextmanager
def read_once(*files: Path) -> Iterator[None]:
    """Files that are read within the block, and gone behind it however it ends."""
    try:
        yield
    finally:
        discard(files)
