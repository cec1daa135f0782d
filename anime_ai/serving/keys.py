"""Keys of the open endpoint: made and revoked by the owner, known to us by their hash alone. Knows no request."""

from __future__ import annotations

import builtins
import hashlib
import secrets
import time
from dataclasses import dataclass

from sqlalchemy import select

from anime_ai.config import OWNER
from anime_ai.errors import AccessError, SettingsError
from anime_ai.serving.meter import DAY, Meter
from anime_ai.storage import Database, is_name, shown_name
from anime_ai.tables import ApiKeyRecord, new_id

PREFIX = "sk-anime-"
TAIL = 4
"""Characters of a key that are kept to know it by."""
MOST_NAME = 60
MOST_KEYS = 100
PER_MINUTE, PER_DAY = 20, 200_000
"""A new key's limits: requests a minute, tokens a day."""
USED_EVERY = 60.0
"""Seconds between two notes of when a key was used."""


@dataclass(frozen=True)
class ApiKey:
    """A key without the key. `private`: it may talk to whom visitors may not, and ask the owner's own documents.

    `per_minute` requests and `per_day` tokens, 0: no limit; `today`: tokens of this day; `used`: when last, 0: never.
    """

    id: str
    name: str
    tail: str
    private: bool
    per_minute: int
    per_day: int
    created: float
    used: float
    today: int = 0

    @property
    def person(self) -> str:
        """As whom a request with it asks for personas and documents."""
        return OWNER if self.private else self.subject

    @property
    def subject(self) -> str:
        return f"key:{self.id}"


class Keys:
    """See the module."""

    def __init__(self, database: Database, meter: Meter) -> None:
        self._database = database
        self.meter = meter

    def make(
        self, name: str, private: bool = False, per_minute: int = PER_MINUTE, per_day: int = PER_DAY
    ) -> tuple[ApiKey, str]:
        """A new key, and what nobody can read again. Raises SettingsError for a useless name or number."""
        shown = shown_name(name)
        if not is_name(shown, MOST_NAME):
            raise SettingsError("serving.key_name", most=MOST_NAME)
        for field, value, most in (("per_minute", per_minute, 10**4), ("per_day", per_day, 10**9)):
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
                raise SettingsError("settings.bounds", name=field, value=value, least=0, most=most)
        secret = PREFIX + secrets.token_urlsafe(32)
        with self._database.session() as session:
            standing = session.scalars(select(ApiKeyRecord.id).where(ApiKeyRecord.revoked.is_(False))).all()
            if len(standing) >= MOST_KEYS:
                raise SettingsError("serving.many_keys", most=MOST_KEYS)
            record = ApiKeyRecord(
                id=new_id(),
                name=shown,
                sha256=_hashed(secret),
                tail=secret[-TAIL:],
                private=bool(private),
                per_minute=per_minute,
                per_day=per_day,
                created=time.time(),
                used=0.0,
                revoked=False,
            )
            session.add(record)
            return _key(record, 0), secret

    def list(self) -> builtins.list[ApiKey]:
        """Keys that are valid, newest first."""
        with self._database.reading() as session:
            wanted = select(ApiKeyRecord).where(ApiKeyRecord.revoked.is_(False))
            records = session.scalars(wanted.order_by(ApiKeyRecord.created.desc())).all()
        return [_key(one, self.meter.used(f"key:{one.id}", "tokens", DAY)) for one in records]

    def revoke(self, key_id: str) -> None:
        """A key is worth nothing from now on. Raises AccessError for one that is not there."""
        with self._database.session() as session:
            record = session.get(ApiKeyRecord, key_id)
            if record is None or record.revoked:
                raise AccessError("serving.gone")
            record.revoked = True

    def check(self, secret: str) -> ApiKey:
        """The key that this is. Raises AccessError for what is none of ours, or was revoked.

        It is looked up by its hash: how long that takes tells nothing of 256 random bits."""
        with self._database.reading() as session:
            wanted = select(ApiKeyRecord).where(ApiKeyRecord.sha256 == _hashed(secret))
            record = session.scalars(wanted).first()
        if record is None or record.revoked:
            raise AccessError("serving.no_key")
        if time.time() - record.used > USED_EVERY:
            with self._database.session() as session:
                session.get_one(ApiKeyRecord, record.id).used = time.time()
        return _key(record, 0)

    def admit(self, key: ApiKey) -> None:
        """Count a request of a key. Raises QuotaError where it is one too many."""
        self.meter.require(key.subject, "tokens", DAY, key.per_day, "serving.per_day")
        self.meter.hurry(key.subject, key.per_minute, "serving.per_minute")

    def spend(self, key: ApiKey, tokens: int) -> None:
        """Count tokens that were read and written for a key."""
        if tokens > 0:
            self.meter.add(key.subject, "tokens", DAY, tokens)


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(record: ApiKeyRecord, today: int) -> ApiKey:
    return ApiKey(
        record.id,
        record.name,
        record.tail,
        record.private,
        record.per_minute,
        record.per_day,
        record.created,
        record.used,
        today,
    )
