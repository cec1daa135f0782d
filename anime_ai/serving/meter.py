"""How much somebody has used: counted in the database by the hour or the day, and by the minute in memory.

Knows neither what is counted nor who it is.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import AbstractContextManager

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.exc import IntegrityError

from anime_ai.errors import AnimeAIError
from anime_ai.storage import Database
from anime_ai.tables import UsageRecord

HOUR, DAY = 3600, 86400
KEPT = 2 * DAY
"""Seconds after which a count is forgotten."""
MOST_SUBJECTS = 5000
"""Whose last minute is remembered."""

# Made once: they are run for every answer to a visitor.
_ONE = (
    UsageRecord.subject == bindparam("whose"),
    UsageRecord.kind == bindparam("what"),
    UsageRecord.span == bindparam("since"),
)
_USED = select(UsageRecord.amount).where(*_ONE)
_MORE = update(UsageRecord).where(*_ONE).values(amount=UsageRecord.amount + bindparam("more"))


class QuotaError(AnimeAIError):
    """Somebody has used up what they may use. `wait` seconds until there is more."""

    def __init__(self, key: str, wait: float, **values: object) -> None:
        self.wait = max(1, round(wait))
        super().__init__(key, minutes=max(1, round(wait / 60)), **values)


class Meter:
    """Counts. Threads may share it, and so may several processes on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._minutes: dict[str, deque[float]] = {}
        self._lock = threading.Lock()
        self._cleared = 0.0

    def together(self) -> AbstractContextManager[None]:
        """Several counts that are looked at by one thread, of one state: `Database.together`."""
        return self._database.together()

    def used(self, subject: str, kind: str, seconds: int) -> int:
        """What `subject` has used of `kind` in the hour or day that it is now."""
        with self._database.reading() as session:
            counted = {"whose": subject, "what": kind, "since": _span(seconds)}
            return int(session.connection().scalar(_USED, counted) or 0)

    def add(self, subject: str, kind: str, seconds: int, amount: int) -> int:
        """Count `amount` more; what it is then."""
        for _ in range(3):
            try:
                return self._add(subject, kind, seconds, amount)
            except IntegrityError:  # another process has begun the same span
                continue
        return self.used(subject, kind, seconds)

    def take(self, subject: str, kind: str, seconds: int, most: int, key: str) -> None:
        """Count one more, unless it would be more than `most` (0: no limit). Raises QuotaError of `key`."""
        if most and self.used(subject, kind, seconds) >= most:
            raise QuotaError(key, left(seconds), most=most)
        self.add(subject, kind, seconds, 1)

    def require(self, subject: str, kind: str, seconds: int, most: int, key: str) -> None:
        """Raise QuotaError of `key` where `most` are used up."""
        if most and self.used(subject, kind, seconds) >= most:
            raise QuotaError(key, left(seconds), most=most)

    def hurry(self, subject: str, most: int, key: str) -> None:
        """Count a request, unless there were `most` within the last minute. Raises QuotaError of `key`."""
        now = time.monotonic()
        with self._lock:
            recent = self._minutes.setdefault(subject, deque())
            while recent and now - recent[0] >= 60:
                recent.popleft()
            if most and len(recent) >= most:
                raise QuotaError(key, 60 - (now - recent[0]), most=most)
            recent.append(now)
            if len(self._minutes) > MOST_SUBJECTS:
                self._minutes = {name: times for name, times in self._minutes.items() if now - times[-1] < 60}

    def _add(self, subject: str, kind: str, seconds: int, amount: int) -> int:
        span = _span(seconds)
        with self._database.session(hasty=True) as session:
            if time.monotonic() - self._cleared > HOUR or not self._cleared:
                self._cleared = time.monotonic()
                session.execute(delete(UsageRecord).where(UsageRecord.span < (time.time() - KEPT) // 60))
            counted = {"whose": subject, "what": kind, "since": span}
            if session.connection().execute(_MORE, {**counted, "more": amount}).rowcount == 0:
                session.add(UsageRecord(subject=subject, kind=kind, span=span, amount=amount))
                return amount
            return int(session.connection().scalar(_USED, counted) or 0)


def left(seconds: int) -> float:
    """Seconds until the hour or day is over."""
    return seconds - time.time() % seconds


def _span(seconds: int) -> int:
    """The minute since 1970 with which this hour or day began."""
    return int(time.time() // seconds) * (seconds // 60)
