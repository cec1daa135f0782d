"""The open endpoint over HTTP: the real clients of OpenAI and LangChain, keys, limits, other sites' pages."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ui_fakes import open_studio, served

from anime_ai.studio import Studio

pytestmark = [pytest.mark.slow]
FRIEND = "https://chat.example"
HELLO = [{"role": "user", "content": "早上好"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("endpoint")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(folder, API_ORIGINS=FRIEND, TEST_PACE="0.01", ANSWER_SECONDS="5") as found:
        yield found


@pytest.fixture(scope="module")
def studio(folder: Path, address: str) -> Iterator[Studio]:
    """A second look at the same database, beside the served app's."""
    with open_studio(folder) as found:
        yield found


@pytest.fixture(scope="module")
def key(studio: Studio) -> str:
    return studio.keys.make("测试", per_minute=0, per_day=0)[1]


@pytest.fixture
def client(address: str, key: str) -> Iterator[Any]:
    from openai import OpenAI

    with OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, timeout=30) as found:
        yield found


@pytest.fixture
def http(address: str, key: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, headers={"authorization": f"Bearer {key}"}, timeout=30) as found:
        yield found


def test_openais_client_lists_asks_and_streams(client: Any) -> None:
    from openai import NotFoundError

    names = [one.id for one in client.models.list()]
    assert "傲娇" in names
    assert client.models.retrieve("傲娇+lore").id == "傲娇+lore"
    with pytest.raises(NotFoundError):
        client.models.retrieve("gpt-4")
    done = client.chat.completions.create(model="base", messages=HELLO, seed=1, temperature=0.5, top_p=0.9)
    assert done.choices[0].message.content == "base说：早上好"
    assert done.choices[0].finish_reason == "stop"
    assert done.usage.completion_tokens == len("base说：早上好")
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    parts = list(
        client.chat.completions.create(
            model="base", messages=HELLO, stream=True, stop=["好"], stream_options={"include_usage": True}
        )
    )
    assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == "base说：早上"
    assert parts[0].choices[0].delta.role == "assistant"
    assert [part.choices[0].finish_reason for part in parts if part.choices][-1] == "stop"
    assert parts[-1].choices == []
    assert parts[-1].usage.completion_tokens > 0
    assert len(parts) > 6, "it came in pieces"


def test_openais_client_is_told_what_is_wrong_in_its_own_errors(client: Any, address: str, studio: Studio) -> None:
    from openai import AuthenticationError, BadRequestError, NotFoundError, OpenAI, RateLimitError

    with pytest.raises(NotFoundError) as missing:
        client.chat.completions.create(model="gpt-4", messages=HELLO)
    assert missing.value.code == "model_not_found"
    with pytest.raises(BadRequestError) as wrong:
        client.chat.completions.create(model="base", messages=HELLO, temperature=7)
    assert wrong.value.param == "temperature"
    assert wrong.value.type == "invalid_request_error"
    with (
        OpenAI(base_url=f"{address}/v1", api_key="sk-anime-wrong", max_retries=0) as stranger,
        pytest.raises(AuthenticationError) as refused,
    ):
        stranger.models.list()
    assert refused.value.code == "invalid_api_key"
    _, few = studio.keys.make("少", per_minute=1)
    with OpenAI(base_url=f"{address}/v1", api_key=few, max_retries=0) as hasty:
        hasty.chat.completions.create(model="base", messages=HELLO)
        with pytest.raises(RateLimitError) as limited:
            hasty.chat.completions.create(model="base", messages=HELLO)
    assert int(limited.value.response.headers["retry-after"]) >= 1


def test_langchains_client_asks_and_streams(address: str, key: str) -> None:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(base_url=f"{address}/v1", api_key=key, model="base", max_retries=0, stream_usage=True)
    talk = [SystemMessage("下雨了。"), HumanMessage("在吗"), AIMessage("在。"), HumanMessage("早上好")]
    answer = model.invoke(talk)
    assert answer.text == "base说：早上好"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == len(answer.text)
    pieces = list(model.stream(talk))
    assert "".join(str(piece.text) for piece in pieces) == answer.text
    assert sum(bool(piece.text) for piece in pieces) > 3


def test_without_a_key_nothing_is_told(address: str, studio: Studio) -> None:
    key, secret = studio.keys.make("停用")
    studio.keys.revoke(key.id)
    with httpx.Client(base_url=address) as bare:
        assert bare.get("/").status_code == 200, "who asks sits at this machine, and is its owner"
        for headers in ({}, {"authorization": f"Bearer {secret}"}, {"authorization": "Basic eDp5"}):
            for method, path in (("GET", "/v1/models"), ("GET", "/v1/models/傲娇"), ("POST", "/v1/chat/completions")):
                answer = bare.request(method, path, headers=headers, json={"model": "傲娇", "messages": HELLO})
                assert answer.status_code == 401, path
                assert answer.json()["error"]["code"] == "invalid_api_key"
                assert "傲娇" not in answer.text


def test_other_sites_pages_stay_out_unless_the_settings_name_them(http: httpx.Client) -> None:
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    for path in ("/v1/chat/completions", "/gradio_api/queue/join", "/"):
        closed = http.options(path, headers={"origin": "https://evil.example", **ask})
        assert closed.status_code == 403, path
        assert not [name for name in closed.headers if name.startswith("access-control")]
    body = {"model": "base", "messages": HELLO}
    for origin in ("https://evil.example", "null"):
        answer = http.post("/v1/chat/completions", headers={"origin": origin}, json=body)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.json()["error"]["type"] == "invalid_request_error"
    opened = http.options("/v1/chat/completions", headers={"origin": FRIEND, **ask})
    assert opened.status_code == 200
    assert opened.headers["access-control-allow-origin"] == FRIEND
    assert "authorization" in opened.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in opened.headers
    answer = http.post("/v1/chat/completions", headers={"origin": FRIEND, "sec-fetch-site": "cross-site"}, json=body)
    assert answer.json()["choices"][0]["message"]["content"] == "base说：早上好"
    assert http.get("/v1/models", headers={"host": "rebound.example"}).status_code == 403
    foreign = http.post("/gradio_api/queue/join", headers={"origin": FRIEND}, json={})
    assert foreign.status_code == 403, "the page itself stays closed to it"


def test_bodies_and_methods_are_bounded(http: httpx.Client) -> None:
    large = {"model": "base", "messages": [{"role": "user", "content": "x" * 3_000_000}]}
    answer = http.post("/v1/chat/completions", json=large)
    assert answer.status_code == 413
    assert answer.json()["error"]["message"]
    for method in ("PUT", "DELETE", "PATCH"):
        assert http.request(method, "/v1/models").status_code == 405
    assert http.post("/v1/chat/completions", content=b"{").status_code == 400
    assert http.get("/v1/nothing").status_code == 404


def test_an_answer_ends_with_its_connection_and_at_its_deadline(http: httpx.Client, studio: Studio) -> None:
    long = {"model": "base", "messages": [{"role": "user", "content": "一" * 1500}], "stream": True}
    with http.stream("POST", "/v1/chat/completions", json=long) as stream:
        lines = stream.iter_lines()
        for _ in range(6):
            next(lines)
    told = http.post("/v1/chat/completions", json={**long, "stream": False}).json()
    assert told["choices"][0]["finish_reason"] == "length", "15 seconds of it were cut at five"
    assert 10 < len(told["choices"][0]["message"]["content"]) < 1400
    # The one that was left is over: what it used was counted, and it is far from whole.
    ends = time.monotonic() + 20
    while not [one for one in studio.keys.list() if one.name == "测试" and one.today]:
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_events_are_json_in_lines_that_end_with_done(http: httpx.Client) -> None:
    answer = http.post("/v1/chat/completions", json={"model": "base", "messages": HELLO, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    lines = [line for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    heads = {(one["id"], one["model"], one["object"]) for one in (json.loads(line[6:]) for line in lines[:-1])}
    assert len(heads) == 1
    assert next(iter(heads))[2] == "chat.completion.chunk"
