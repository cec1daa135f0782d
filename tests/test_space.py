"""The app as a Space runs it: its variables, its proxy's headers, a provider and a hub on loopback, asked over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_persons import Hub, hub
from ui_fakes import Api
from writable_hub import TOKEN, WritableHub, writable_hub

from anime_ai.config import ROOT
from anime_ai.publishing.state import FILE
from anime_ai.texts import text

HOST = "mika-studio.hf.space"
PROXY = {"host": HOST, "x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.7"}
pytestmark = [pytest.mark.slow]


@pytest.fixture
def provider() -> Iterator[Hub]:
    with hub() as found:
        yield found


@pytest.fixture
def kept() -> Iterator[WritableHub]:
    with writable_hub() as found:
        yield found


@pytest.fixture
def surroundings(provider: Hub, kept: WritableHub, tmp_path: Path) -> dict[str, str]:
    """What a Space with `hf_oauth: true` sets, and what its owner has set there."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("ANIME_AI_")}
    return {
        **mine,
        **{"SPACE_ID": "mika/studio", "SPACE_AUTHOR_NAME": "mika", "SPACE_HOST": HOST, "HOME": str(tmp_path)},
        **{"OAUTH_CLIENT_ID": "the-app", "OAUTH_CLIENT_SECRET": "the-secret", "OPENID_PROVIDER_URL": provider.address},
        **{"HF_ENDPOINT": kept.endpoint, "HF_TOKEN": TOKEN, "ANIME_AI_STATE_REPO": "studio-state"},
        **{"ANIME_AI_LANGUAGE": "zh", "ANIME_AI_MODEL_NAME": "starter", "PYTHONWARNINGS": "ignore"},
    }


@contextmanager
def space(surroundings: dict[str, str], disk: Path) -> Iterator[str]:
    """`python app.py` there, with an empty disk, until it is told to end."""
    disk.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port), "--output-dir", str(disk)]
    with open(disk.with_suffix(".log"), "wb") as log:
        child = subprocess.Popen(command, cwd=ROOT, env=surroundings, stdout=subprocess.PIPE, stderr=log, text=True)
        with child:
            try:
                assert child.stdout is not None
                line = child.stdout.readline()
                assert str(port) in line, disk.with_suffix(".log").read_text(encoding="utf-8")
                yield f"http://127.0.0.1:{port}"
            finally:
                child.send_signal(signal.SIGTERM)


def logged_in(address: str, provider: Hub, name: str) -> str:
    """The cookie of a user of Hugging Face, who went there and came back."""
    provider.user = {"sub": "1", "preferred_username": name}
    with httpx.Client(base_url=address, headers=PROXY, timeout=60) as browser:
        away = browser.get("/login/hub")
        assert away.status_code == 303, away.text
        visit = away.headers["set-cookie"].partition(";")[0]
        query = provider.permit(away.headers["location"])
        back = browser.get(f"/login/callback?{query}", headers={"cookie": visit})
    assert back.status_code == 303, back.text
    lines = [line for line in back.headers.get_list("set-cookie") if line.startswith("anime_ai_user=")]
    assert "Secure; Partitioned" in lines[0], "the page stands in a frame of Hugging Face's"
    return lines[0].partition(";")[0]


def asked(address: str, handler: str, cookie: str = "") -> dict[str, Any]:
    """What a handler answers somebody who comes through the Space's proxy."""
    with Api(address, **PROXY, **({"cookie": cookie} if cookie else {})) as api:
        answer = api.call(api.index(handler))
        assert answer["msg"] == "process_completed", answer
        return answer


def test_a_space_knows_its_author_and_what_it_was_before_it_forgot(
    surroundings: dict[str, str], provider: Hub, kept: WritableHub, tmp_path: Path
) -> None:
    made = text("ui.persona.new_name", "zh")
    refusal = text("error.ui.owner_only", "zh")
    with space(surroundings, tmp_path / "first") as address:
        page = httpx.get(address, headers=PROXY, timeout=60)
        assert page.status_code == 200
        assert "frame-ancestors 'self' https://huggingface.co" in page.headers["content-security-policy"]
        assert httpx.get(address, headers={"host": "evil.example"}, timeout=60).status_code == 403
        for stranger in ("", logged_in(address, provider, "guest"), "anime_ai_user=forged.1"):
            assert refusal in json.dumps(asked(address, "create_persona", stranger), ensure_ascii=False)
        mika = logged_in(address, provider, "Mika")
        assert asked(address, "create_persona", mika)["success"]
        assert kept.repos["dataset"] == {} or kept.repo("dataset", "haitang/studio-state").private
    repo = kept.repo("dataset", "haitang/studio-state")
    assert repo.private
    assert set(repo.files) == {FILE}
    with space(surroundings, tmp_path / "second") as address:
        mika = logged_in(address, provider, "Mika")
        shown = json.dumps(asked(address, "look_over", mika), ensure_ascii=False)
        assert made in shown, "what was there is there again"
    told = b"".join(file.read_bytes() for file in tmp_path.glob("*.log"))
    assert TOKEN.encode() not in told
    assert b"the-secret" not in told
