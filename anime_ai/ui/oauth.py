"""Who somebody is at Hugging Face, where the app runs as a Space: OAuth 2 with PKCE, for the name alone.

Sources: https://huggingface.co/docs/hub/spaces-oauth, RFC 6749, RFC 7636. The token is used once, to ask for the name,
and not kept. Knows no cookie and no page.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from anime_ai.errors import AccessError

PROVIDER = "https://huggingface.co"
SCOPE = "openid profile"
SECONDS = 15.0
"""Until the provider has to have answered."""
MOST_NAME = 120


@dataclass(frozen=True)
class Visit:
    """One login on its way: what only the browser that began it knows."""

    state: str
    verifier: str

    @classmethod
    def begin(cls) -> Visit:
        return cls(secrets.token_urlsafe(24), secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode("ascii")).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


@dataclass(frozen=True)
class OAuth:
    """A Space's own application at the provider, and whose the Space is: `owners`, in lower case."""

    client_id: str
    client_secret: str = field(repr=False)
    redirect: str
    owners: frozenset[str]
    provider: str = PROVIDER

    @classmethod
    def of_space(cls, owners: Iterable[str] = ()) -> OAuth | None:
        """By the variables that a Space with `hf_oauth: true` sets; None anywhere else."""
        space, client_id = os.environ.get("SPACE_ID", ""), os.environ.get("OAUTH_CLIENT_ID", "")
        host, secret = os.environ.get("SPACE_HOST", ""), os.environ.get("OAUTH_CLIENT_SECRET", "")
        if not (space and client_id and host and secret):
            return None
        author = os.environ.get("SPACE_AUTHOR_NAME", "") or space.partition("/")[0]
        names = frozenset(name.strip().lower() for name in (author, *owners) if name.strip())
        provider = os.environ.get("OPENID_PROVIDER_URL", "").rstrip("/") or PROVIDER
        return cls(client_id, secret, f"https://{host}/login/callback", names, provider)

    def owns(self, name: str) -> bool:
        return name.lower() in self.owners

    def address(self, visit: Visit) -> str:
        """Where the browser goes to say who it is."""
        asked = {
            "client_id": self.client_id,
            "redirect_uri": self.redirect,
            "response_type": "code",
            "scope": SCOPE,
            "state": visit.state,
            "code_challenge": visit.challenge,
            "code_challenge_method": "S256",
        }
        return f"{self.provider}/oauth/authorize?{urlencode(asked, quote_via=quote)}"

    def name(self, visit: Visit, code: str, state: str) -> str:
        """The name at the provider of who came back. Raises AccessError; nothing of a secret stands in it."""
        import httpx

        if not code or not secrets.compare_digest(state.encode(), visit.state.encode()):
            raise AccessError("login.state")
        told = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect,
            "client_id": self.client_id,
            "code_verifier": visit.verifier,
        }
        try:
            with httpx.Client(timeout=SECONDS, trust_env=True) as http:
                given = http.post(f"{self.provider}/oauth/token", data=told, auth=(self.client_id, self.client_secret))
                token = _text(given.json() if given.status_code == 200 else None, "access_token", 8192)
                who = http.get(f"{self.provider}/oauth/userinfo", headers={"authorization": f"Bearer {token}"})
                return _text(who.json() if who.status_code == 200 else None, "preferred_username", MOST_NAME)
        except (httpx.HTTPError, ValueError):
            raise AccessError("login.provider") from None  # its cause would hold the code


def _text(value: Any, name: str, most: int) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, str) or not 0 < len(found) <= most:
        raise AccessError("login.provider")
    return found
