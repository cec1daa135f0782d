"""Who is asking: the owner or a visitor, and in which language. Knows no handler, no page and no service.

A visitor is a browser with a signed cookie; where cookies are blocked (a page inside another site) it is a page load,
by its session hash. The owner is whoever comes from this machine itself, or who knows the password where one is set, or
on a Space the user of Hugging Face whose it is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import os
import secrets
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs

from anime_ai.config import OWNER
from anime_ai.errors import StorageError
from anime_ai.texts import LANGUAGES, pick_language
from anime_ai.ui.oauth import OAuth, Visit
from anime_ai.ui.passwords import Password

VISITOR_COOKIE = "anime_ai_visitor"
OWNER_COOKIE = "anime_ai_owner"
LANGUAGE_COOKIE = "anime_ai_language"
USER_COOKIE = "anime_ai_user"
VISIT_COOKIE = "anime_ai_visit"
VISIT_SECONDS = 600
"""From the way to Hugging Face until the way back."""
MONTH = 30 * 24 * 3600
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
FORWARDED = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "via",
    "cf-connecting-ip",
)
SCOPE_KEY = "anime_ai.person"


@dataclass(frozen=True)
class Person:
    """Who asks. `id` owns conversations, `role` is "owner" or "visitor", `session` is the page load, "" outside one."""

    id: str
    role: str
    language: str = "zh"
    session: str = ""
    name: str = ""
    """Of a user of Hugging Face."""

    @property
    def is_owner(self) -> bool:
        return self.role == "owner"


NOBODY = Person("", "visitor")


def person_of(request: Any) -> Person:
    """The person behind a Gradio or Starlette request; `NOBODY` where the guard did not see the request."""
    inner = getattr(request, "request", None) or request
    scope = getattr(inner, "scope", None) or {}
    person = scope.get(SCOPE_KEY)
    return person if isinstance(person, Person) else NOBODY


def header(scope: Any, name: str) -> str:
    """The value of one header, "" where it is missing. Bytes outside Latin-1 cannot occur; others are kept."""
    wanted = name.encode("ascii")
    return next((value.decode("latin-1") for key, value in scope.get("headers", ()) if key.lower() == wanted), "")


def cookies(scope: Any) -> dict[str, str]:
    """The request's cookies. Another program's under this host, such as one with JSON in it, hide none of ours."""
    from starlette.requests import cookie_parser

    return cookie_parser(header(scope, "cookie"))


def language_of(scope: Any) -> str:
    """The language that the browser asks for, or the one that its user chose on the page."""
    chosen = wanted_language(scope) or cookies(scope).get(LANGUAGE_COOKIE, "")
    return chosen if chosen in LANGUAGES else pick_language(header(scope, "accept-language"))


def wanted_language(scope: Any) -> str:
    """The language that the page's own switch asks for (`?lang=en`), "" where it does not."""
    wanted = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("lang", [""])[0]
    return wanted if wanted in LANGUAGES else ""


def read_secret(path: Path) -> bytes:
    """The signing key in `path`, made at the first call. Raises StorageError that names the path."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
            # 0600 from the first byte on; Windows keeps the rights of the folder.
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
            os.replace(beside, path)
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError("storage.write", path=path, why=getattr(error, "strerror", None) or error) from error
    if len(secret) < 32:
        raise StorageError("storage.write", path=path, why="secret.key")
    return secret.encode("ascii")


class Persons:
    """Recognises persons, signs their cookies, and keeps each page load with the person that opened it.

    `shared`: by a tunnel, whose requests come from this machine too, so that being local proves nothing. `oauth`: the
    Space's own application at Hugging Face.
    """

    def __init__(self, secret: bytes, password: str = "", shared: bool = False, oauth: OAuth | None = None) -> None:
        self.secret, self.shared, self.oauth = secret, shared, oauth
        self.password = password
        self.sessions: OrderedDict[str, str] = OrderedDict()
        self._tries: dict[str, list[float]] = {}
        self._lock = Lock()

    @property
    def password(self) -> Password:
        """The owner's, which is set as it is typed and kept as its hash."""
        return self._password

    @password.setter
    def password(self, typed: str) -> None:
        self._password = Password(typed, self.secret)

    def recognise(self, scope: Any, session: str = "", fresh: str = "") -> Person:
        """The person of a request. `session` is its session hash, used where the browser keeps no cookie; `fresh` the
        cookie that the answer is going to set."""
        kept = cookies(scope)
        language = language_of(scope)
        user = self._user(kept)
        if (user and self.oauth and self.oauth.owns(user)) or self._is_owner(scope, kept):
            return Person(OWNER, "owner", language, session, user)
        if user:
            return Person("h" + self._sign(user.lower(), "user")[:32], "visitor", language, session, user)
        visitor = self._verified(fresh or kept.get(VISITOR_COOKIE, ""), "visitor")
        if not visitor:
            visitor = "s" + self._sign(session, "session")[:31] if session else ""
        return Person(visitor, "visitor", language, session)

    def knows_visitor(self, scope: Any) -> bool:
        """Whether the browser already carries a visitor cookie of ours."""
        return bool(self._verified(cookies(scope).get(VISITOR_COOKIE, ""), "visitor"))

    def owns_session(self, person: Person, session: str) -> bool:
        """Whether `session` is this person's; the first to use a session hash keeps it."""
        with self._lock:
            owner = self.sessions.setdefault(session, person.id)
            self.sessions.move_to_end(session)
            while len(self.sessions) > 10_000:
                self.sessions.popitem(last=False)
        return owner == person.id

    def new_visitor(self) -> str:
        """The value of a fresh visitor cookie."""
        return self._signed("v" + secrets.token_hex(16), "visitor")

    def try_password(self, given: str, peer: str) -> bool | None:
        """Whether `given` is the owner's password; None when this peer tried five times within a minute, or all
        together thirty times."""
        now = time.monotonic()
        with self._lock:
            self._tries = {
                one: left for one, times in self._tries.items() if (left := [at for at in times if now - at < 60])
            }
            recent = self._tries.get(peer, [])
            if len(recent) >= 5 or sum(map(len, self._tries.values())) >= 30:
                return None
            self._tries[peer] = [*recent, now]
        return self.password.is_it(given)

    def place_of(self, scope: Any) -> str:
        """A mark of the network address that a request comes from, which nobody can turn back into it; "" where it is
        not known. It is the peer's; the server has put in its place what a trusted proxy says."""
        network = network_of(scope.get("client"))
        return self._sign(network, "address")[:32] if network else ""

    def owner_cookie(self) -> str:
        """The value of an owner cookie; it ends after a month, or when the password changes."""
        return self._signed(str(int(time.time())), "owner" + self.password.mark)

    def visit_cookie(self, visit: Visit) -> str:
        """The value of the cookie of a login that is on its way to Hugging Face."""
        return self._signed(_packed([visit.state, visit.verifier, int(time.time())]), "visit")

    def visit_of(self, scope: Any) -> Visit | None:
        """The login that this browser has begun, within the last ten minutes."""
        value = _unpacked(self._verified(cookies(scope).get(VISIT_COOKIE, ""), "visit"))
        if len(value) != 3 or not 0 <= time.time() - value[2] < VISIT_SECONDS:
            return None
        return Visit(str(value[0]), str(value[1]))

    def user_cookie(self, name: str) -> str:
        """The value of the cookie of a user of Hugging Face; it ends after a month."""
        return self._signed(_packed([name, int(time.time())]), "oauth")

    def _user(self, kept: dict[str, str]) -> str:
        """The user of Hugging Face who has logged in here, "" for nobody."""
        value = _unpacked(self._verified(kept.get(USER_COOKIE, ""), "oauth")) if self.oauth else []
        return str(value[0]) if len(value) == 2 and 0 <= time.time() - value[1] < MONTH else ""

    def _is_owner(self, scope: Any, kept: dict[str, str]) -> bool:
        if self.password:
            issued = self._verified(kept.get(OWNER_COOKIE, ""), "owner" + self.password.mark)
            return issued.isdigit() and 0 <= time.time() - int(issued) < MONTH
        # A proxy may forward under our own name and not say so; nginx does, and then speaks HTTP/1.0. No browser does.
        if self.shared or scope.get("http_version") == "1.0" or any(header(scope, name) for name in FORWARDED):
            return False
        return is_loopback(scope.get("client")) and host_name(header(scope, "host")) in LOOPBACK_HOSTS

    def _sign(self, value: str, purpose: str) -> str:
        return hmac.new(self.secret, f"{purpose}\0{value}".encode(), hashlib.sha256).hexdigest()

    def _signed(self, value: str, purpose: str) -> str:
        return f"{value}.{self._sign(value, purpose)}"

    def _verified(self, cookie: str, purpose: str) -> str:
        value, _, mark = cookie.partition(".")
        good = value and hmac.compare_digest(mark.encode("latin-1", "replace"), self._sign(value, purpose).encode())
        return value if good else ""


def _packed(value: list[Any]) -> str:
    """JSON as a cookie can hold it, without a full stop, behind which the signature stands."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode("ascii")


def _unpacked(packed: str) -> list[Any]:
    return json.loads(base64.urlsafe_b64decode(packed)) if packed else []


def set_cookie(name: str, value: str, seconds: int, on_space: bool) -> str:
    """A Set-Cookie value. A Space's page is framed by another site, where only a partitioned cookie is kept."""
    kept = "SameSite=None; Secure; Partitioned" if on_space else "SameSite=Lax"
    return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; {kept}"


def host_name(host: str) -> str:
    """The name in a Host header or an origin's authority, in lower case and without the port."""
    if host.startswith("["):
        return host[: host.find("]") + 1].lower()
    return host.partition(":")[0].lower()


def network_of(client: Any) -> str:
    """An ASGI peer's address; of IPv6 the /64, all of which is one subscriber's. "" for what is no address."""
    try:
        address = ipaddress.ip_address(client[0])
    except (TypeError, IndexError, ValueError):
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return str(mapped)
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address.packed[:8] + bytes(8), 64)))


def is_loopback(client: Any) -> bool:
    """Whether an ASGI peer is this machine. A unix socket or an unknown peer is not."""
    try:
        return ipaddress.ip_address(client[0]).is_loopback
    except (TypeError, IndexError, ValueError):
        return False
