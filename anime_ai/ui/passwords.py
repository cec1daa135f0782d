"""The owner's password as it is kept and compared: scrypt (RFC 7914), never as it was typed. Knows no request."""

from __future__ import annotations

import hashlib
import hmac
import threading

N, R, P = 2**14, 8, 1
"""16 MB and some 50 ms a try."""
LEAST = 8
"""Bytes of a password that may guard a public address."""


class Password:
    """One password, "" for none. `salt` is this installation's own, so that logins outlive a restart."""

    def __init__(self, password: str, salt: bytes) -> None:
        self._salt = hashlib.sha256(b"owner password\0" + salt).digest()
        self._hash = self._scrypt(password) if password else b""
        self._turn = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._hash)

    @property
    def mark(self) -> str:
        """What changes with the password, to sign with."""
        return self._hash.hex()

    def is_it(self, given: str) -> bool:
        """Whether this is the password, in a time that tells nothing of it. One try at a time: many cost no more."""
        with self._turn:
            made = self._scrypt(given[:1024])
        return bool(self._hash) and hmac.compare_digest(made, self._hash)

    def _scrypt(self, password: str) -> bytes:
        return hashlib.scrypt(password.encode("utf-8", "replace"), salt=self._salt, n=N, r=R, p=P, maxmem=2**26)
