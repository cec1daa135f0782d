"""What a GGUF file says of itself: its values, and its tensors by name and shape. Reads no weights. Knows no engine.

A stranger's file: nothing in it is believed further than the file is long.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from anime_ai.errors import ModelError

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_DIMENSIONS, _MOST_COUNT = 4, 2**31


@dataclass(frozen=True)
class Head:
    """`values` by their keys, lists only where they were asked for; `shapes` of the tensors as numpy has them: a
    matrix is (out, in)."""

    values: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def architecture(self) -> str:
        return str(self.values.get("general.architecture") or "?")[:64]

    def number(self, name: str, otherwise: int = 0) -> int:
        """A count that the architecture's own section tells, such as `block_count`; what is no count is not told."""
        told = self.values.get(f"{self.architecture}.{name}")
        return told if type(told) is int and 0 < told < _MOST_COUNT else otherwise


def read_head(file: Path) -> Head:
    """The head of a file without its lists, kept until the file changes. Raises ModelError unless the file is a whole
    GGUF of version 2 or 3."""
    try:
        stamp = file.stat()
    except OSError as error:
        raise ModelError("model.broken_file", path=file, why=error.strerror or error) from error
    return _kept(file, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=32)
def _kept(file: Path, changed: int, size: int) -> Head:
    return read_lists(file, ())


def read_lists(file: Path, lists: Collection[str]) -> Head:
    """The head of a file with the lists that are named. Raises ModelError as `read_head` does."""
    try:
        size = file.stat().st_size
        with open(file, "rb") as opened:
            return _Reader(opened, size).head(lists)
    except (OSError, ValueError, struct.error, OverflowError, MemoryError) as error:
        raise ModelError("model.broken_file", path=file, why=error) from error


class _Reader:
    """One file from its first byte to the last of its head."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left, self.size = file, size, size

    def head(self, lists: Collection[str]) -> Head:
        magic, version, tensors, entries = struct.unpack("<4sIQQ", self._take(24))
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError("no GGUF of version 2 or 3")
        values: dict[str, Any] = {}
        for _ in range(self._bounded(entries, 12)):
            key = self._string()
            value = self._value(self._number("I"), key in lists)
            if value is not None:
                values[key] = value
        shapes, end = self._tensors(tensors)
        align = values.get("general.alignment", 32)
        if not isinstance(align, int) or not 0 < align <= 2**20 or not shapes:
            raise ValueError("no tensors")
        read = self.size - self._left
        if -(-read // align) * align + end > self.size:
            raise ValueError("the file is cut short")
        return Head(values, shapes)

    def _tensors(self, count: int) -> tuple[dict[str, tuple[int, ...]], int]:
        """Shapes by name, and how many bytes their data take at least."""
        import gguf

        sizes = {int(kind): size for kind, size in gguf.GGML_QUANT_SIZES.items()}
        shapes, end = {}, 0
        for _ in range(self._bounded(count, 24)):
            name, dimensions = self._string(), self._number("I")
            if not 0 < dimensions <= _MOST_DIMENSIONS:
                raise ValueError(f"{name[:80]}: {dimensions} dimensions")
            shape = struct.unpack(f"<{dimensions}Q", self._take(8 * dimensions))
            kind, place = self._number("I"), self._number("Q")
            shapes[name] = tuple(reversed(shape))
            block, size = sizes.get(kind, (1, 0))  # a type of a later day: its size is not known
            weights = 1
            for length in shape:
                weights *= length
            end = max(end, place + weights // block * size)
        return shapes, end

    def _value(self, kind: int, wanted: bool) -> Any:
        """A value; None for a list that was not asked for."""
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._number(_NUMBERS.get(kind, ""))
        of, count = self._number("I"), self._number("Q")
        if of == _STRING:
            texts = [self._string() for _ in range(self._bounded(count, 8))]
            return texts if wanted else None
        code = _NUMBERS.get(of)
        if code is None:
            raise ValueError(f"a list of type {of}")
        told = self._take(self._bounded(count, struct.calcsize(f"<{code}")) * struct.calcsize(f"<{code}"))
        return list(struct.unpack(f"<{count}{code}", told)) if wanted else None

    def _string(self) -> str:
        return self._take(self._number("Q")).decode("utf-8")

    def _number(self, code: str) -> Any:
        if not code:
            raise ValueError("a value of an unknown type")
        return struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))[0]

    def _bounded(self, count: int, each: int) -> int:
        if count * each > self._left:
            raise ValueError("the file is cut short")
        return count

    def _take(self, count: int) -> bytes:
        if count > self._left:
            raise ValueError("the file is cut short")
        self._left -= count
        taken = self._file.read(count)
        if len(taken) != count:
            raise ValueError("the file is cut short")
        return taken
