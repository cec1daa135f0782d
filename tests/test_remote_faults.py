"""The engine over a server that dies, stalls, answers nonsense, or is told of in a way that cannot be."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from remote_asking import END, SHORT, ask, delta, heard, remote, talking, text_of
from remote_servers import KEY, Asked, Loopback, loopback
from tiny_models import make_base

from anime_ai.chat.chain import reply_chain
from anime_ai.chat.model import EngineChatModel
from anime_ai.errors import ModelError
from anime_ai.models.bases import Base
from anime_ai.models.engine import Adapter, Piece, Sampling
from anime_ai.models.remote_answer import Thoughts, pieces
from anime_ai.models.remote_server import base_url


@pytest.fixture(scope="module")
def other_base(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Any) -> Base:
    return make_base(tmp_path_factory.mktemp("remote") / "tiny-qwen", tiny_tokenizer)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as server:
        yield server


def test_a_server_that_dies_in_mid_answer(server: Loopback, other_base: Base) -> None:
    engine = talking(
        server, other_base, lambda asked: asked.events(delta(content="哼，"), delta(content="才"), done=False)
    )
    assert heard(engine) == ("哼，才", "model.remote_died")

    def abrupt(asked: Asked) -> None:
        asked.send_response(200)
        asked.send_header("Content-Type", "text/event-stream")
        asked.send_header("Content-Length", "9999")
        asked.end_headers()
        asked.wfile.write(f"data: {json.dumps(delta(content='哼'))}\n\ndata: {{".encode())

    assert heard(talking(server, other_base, abrupt)) == ("哼", "model.remote_died")
    asked_before = len(server.asked)
    silent = talking(server, other_base, lambda asked: asked.connection.close())
    assert heard(silent) == ("", "model.remote_died")
    assert len(server.asked) == asked_before + 1, "only connecting is tried again"


def test_a_server_that_stalls(server: Loopback, other_base: Base) -> None:
    gone: list[bool] = []

    def pause(asked: Asked) -> None:
        asked.events(": ping\n\n", delta(content="等"), done=False)
        gone.append(asked.gone())

    assert heard(talking(server, other_base, pause, remote_stall_timeout=0.3)) == ("等", "model.remote_stalled")

    def never(asked: Asked) -> None:
        asked.events(": ping\n\n", ": ping\n\n", done=False)
        gone.append(asked.gone())

    limits = {"remote_first_timeout": 0.3, "remote_connect_timeout": 0.3}
    assert heard(talking(server, other_base, never, **limits)) == ("", "model.remote_slow")
    assert heard(talking(server, other_base, lambda asked: gone.append(asked.gone()), **limits))[1] == (
        "model.remote_slow"
    )
    while len(gone) < 3:
        threading.Event().wait(0.02)
    assert gone == [True] * 3, "the line is closed, so that the server can stop"


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        (lambda asked: asked.body(200, "<html><p>Router login</p></html>", "text/html"), "model.remote_nonsense"),
        (lambda asked: asked.body(200, '{"choices": [', "application/json"), "model.remote_nonsense"),
        (lambda asked: asked.body(200, "[1]", "application/json"), "model.remote_nonsense"),
        (lambda asked: asked.body(200, b"\xff\xfe\x00" * 40, "text/event-stream"), "model.remote_nonsense"),
        (lambda asked: asked.events('data: {"choices"\n\n'), "model.remote_nonsense"),
        (lambda asked: asked.events("data: " + "[" * 90_000 + "\n\n"), "model.remote_nonsense"),
        (lambda asked: asked.body(200, "", "text/event-stream"), "model.remote_nonsense"),
        (lambda asked: asked.events({"error": {"message": f"bad {KEY}\nnow"}}), "model.remote_failed"),
        (lambda asked: asked.body(401, json.dumps({"error": f"Incorrect key: {KEY}"})), "model.remote_key"),
        (lambda asked: asked.body(403, "no"), "model.remote_key"),
        (lambda asked: asked.body(404, '{"error": {"message": "no model m"}}'), "model.remote_not_found"),
        (lambda asked: asked.body(400, json.dumps({"detail": f"too long, {KEY}"})), "model.remote_refused"),
        (lambda asked: asked.body(500, "<h1>oops</h1>", "text/html"), "model.remote_failed"),
        (lambda asked: asked.body(503, '{"message": "loading"}'), "model.remote_failed"),
        (lambda asked: asked.body(302, "", Location="http://example.invalid/"), "model.remote_refused"),
    ],
)
def test_a_server_that_answers_nonsense(server: Loopback, other_base: Base, answer: Any, key: str) -> None:
    assert heard(talking(server, other_base, answer)) == ("", key)
    assert heard(talking(server, other_base, lambda asked: asked.events(delta(content="好"), END))) == ("好", "")


def test_too_many_requests_say_when_to_come_back(server: Loopback, other_base: Base) -> None:
    for after, seconds in (("7", "7"), ("Wed, 21 Oct 2099 07:28:00 GMT", "60"), ("-1", "60")):
        engine = talking(server, other_base, lambda asked, after=after: asked.body(429, "{}", Retry_After=after))
        server.asked.clear()
        with pytest.raises(ModelError) as caught:
            list(engine.stream(ask(engine, "你好"), sampling=SHORT))
        assert caught.value.key == "model.remote_busy"
        assert caught.value.values["seconds"] == seconds
        assert len(server.questions()) == 1, "nobody asks again at once"


def test_connecting_is_tried_again_until_the_server_is_up(other_base: Base) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    engine = remote(f"127.0.0.1:{port}", other_base, remote_model="m", remote_form="messages")
    assert heard(engine) == ("", "model.remote_silent")
    told: list[tuple[str, str]] = []
    waiting = threading.Thread(target=lambda: told.append(heard(engine)))
    waiting.start()
    with loopback(port) as server:
        server.script = lambda asked: asked.events(delta(content="来了"), END)
        waiting.join()
    assert told == [("来了", "")]


def test_leaving_while_the_server_reads_closes_the_line(server: Loopback, other_base: Base) -> None:
    gone, come, stop = threading.Event(), threading.Event(), threading.Event()

    def reading(asked: Asked) -> None:
        come.set()
        if asked.gone():
            gone.set()

    engine = talking(server, other_base, reading)
    said: list[Piece] = []
    prompt = ask(engine, "你好")
    waiting = threading.Thread(target=lambda: said.extend(engine.stream(prompt, sampling=SHORT, stop=stop)))
    waiting.start()
    assert come.wait(60)
    stop.set()
    waiting.join(60)
    assert not waiting.is_alive()
    assert gone.wait(60)
    assert said == []
    before = threading.active_count()
    stream = talking(server, other_base, lambda asked: asked.events(delta(content="好"), END)).stream(prompt)
    next(stream)
    stream.close()
    assert threading.active_count() <= before


THINKING = [delta(reasoning_content="她在"), delta(reasoning_content="想。"), delta(content="好"), delta(content="呀")]


@pytest.mark.parametrize("think", ["silent", "open"])
@pytest.mark.parametrize(
    ("events", "thought", "speech"),
    [
        (THINKING, "她在想。", "好呀"),
        ([delta(reasoning="想。"), delta(content="好呀")], "想。", "好呀"),
        ([delta(content="<thi"), delta(content="nk>想。</think>"), delta(content="好呀")], "想。", "好呀"),
        ([delta(content="好"), delta(content="呀")], "", "好呀"),
        ([delta(role="assistant", content=None), delta(content="<3 好呀")], "", "<3 好呀"),
        ([delta(reasoning_content="没想完")], "没想完", ""),
    ],
)
def test_thoughts_are_told_apart_however_a_server_sends_them(
    server: Loopback, other_base: Base, think: str, events: list[Any], thought: str, speech: str
) -> None:
    engine = talking(server, other_base, lambda asked: asked.events(*events, END))
    chain = reply_chain(EngineChatModel(engine=engine, sampling=SHORT, think=think))
    from langchain_core.messages import HumanMessage

    spoken = chain.invoke({"card": "你是她。", "question": [HumanMessage("你好")]})
    assert (spoken.thinking.strip(), spoken.text.strip()) == (thought, speech)
    assert spoken.ended
    assert spoken.cut == (not speech)
    wanted = server.questions()[-1]["chat_template_kwargs"]["enable_thinking"]
    assert wanted == (think == "open")


def test_text_is_whole_whatever_the_line_does(server: Loopback, other_base: Base) -> None:
    """Half characters, U+2028, carriage returns, an event over two lines, a stop text over two events."""
    raw = "".join(
        f"data: {json.dumps(delta(content=part), ensure_ascii=False)}\r\n\r\n"
        for part in ("哼\u2028，", "才不<", "停>x")
    ).encode()

    def bytewise(asked: Asked) -> None:
        asked.body(200, b"", "text/event-stream; charset=utf-8")
        for place in range(len(raw)):
            asked.wfile.write(raw[place : place + 1])
            asked.wfile.flush()
        asked.wfile.write(b'event: x\ndata: {"choices":\ndata: []}\n\ndata:[DONE]')

    engine = talking(server, other_base, bytewise)
    prompt = replace(ask(engine, "你好"), stop_texts=("<停>",))
    said = list(engine.stream(prompt, sampling=SHORT))
    assert text_of(said) == "哼\u2028，才不"
    assert said[-1].ended
    assert server.questions()[-1]["stop"] == ["<停>"]


def test_an_answer_that_is_no_stream_is_one_too(server: Loopback, other_base: Base) -> None:
    whole = {
        "choices": [{"message": {"content": "好呀"}, "finish_reason": "length"}],
        "usage": {"completion_tokens": 2},
    }
    engine = talking(server, other_base, lambda asked: asked.body(200, json.dumps(whole)))
    said = list(engine.stream(ask(engine, "你好"), sampling=SHORT))
    assert text_of(said) == "好呀"
    assert sum(piece.tokens for piece in said) == 2
    assert not said[-1].ended, "it was cut"


def test_a_server_that_never_ends_is_left(server: Loopback, other_base: Base) -> None:
    engine = talking(server, other_base, lambda asked: asked.events(*[delta(content="啊")] * 500))
    said = list(engine.stream(ask(engine, "你好"), sampling=replace(SHORT, max_new_tokens=8)))
    assert len(text_of(said)) < 100
    assert not said[-1].ended


def test_what_is_no_part_of_the_protocol_is_left_out_where_it_is_refused(server: Loopback, other_base: Base) -> None:
    known = {"model", "messages", "stream", "temperature", "top_p", "max_tokens", "stop", "seed"}

    def strict(asked: Asked) -> None:
        if asked.request.keys() <= known:
            asked.events(delta(content="好"), END)
        else:
            asked.body(400, '{"error": {"message": "Unrecognized request argument supplied: top_k"}}')

    engine = talking(server, other_base, strict)
    drawn = Sampling(seed=5, dry_multiplier=0.8, top_k=20, min_p=0.1, max_new_tokens=9)
    assert heard(engine, sampling=drawn) == ("好", "")
    assert heard(engine, sampling=drawn) == ("好", "")
    first, second, third = server.questions()
    assert (first["dry_multiplier"], first["top_k"], first["min_p"], first["max_tokens"]) == (0.8, 20, 0.1, 9)
    assert second == third
    assert (second["seed"], second["temperature"], second["top_p"]) == (5, 0.6, 0.95)
    assert "，" in first["dry_sequence_breakers"]


def test_the_probe_asks_once_and_tells_servers_apart(server: Loopback, other_base: Base) -> None:
    """One that adds a begin token, one that takes no ids, one that lays the text out again, one without the route."""
    count = remote(server.address, other_base).tokenizer().encode

    def serving(begin: bool, ids: bool, layout: int, route: bool) -> Callable[[Asked], None]:
        def answer(asked: Asked) -> None:
            if asked.request is None or (asked.path.endswith("/v1/completions") and not route):
                asked.body(404, "{}")
                return
            if "messages" in asked.request:
                asked.events(delta(content="消息"), END)
                return
            prompt = asked.request["prompt"]
            if isinstance(prompt, list) and not ids:
                asked.body(400, "{}")
                return
            read = len(prompt) if isinstance(prompt, list) else len(count(prompt, add_special_tokens=False)) + begin
            usage = {"prompt_tokens": read + layout, "completion_tokens": 1}
            said = {"choices": [{"text": "文本", "finish_reason": "stop"}], "usage": usage}
            asked.body(200, json.dumps(said)) if asked.request["max_tokens"] == 1 else asked.events(said)

        return answer

    for kind, form, said in (
        ({"begin": False, "ids": True, "layout": 0, "route": True}, "tokens", "文本"),
        ({"begin": False, "ids": False, "layout": 0, "route": True}, "text", "文本"),
        ({"begin": True, "ids": False, "layout": 0, "route": True}, "text-after-begin", "文本"),
        ({"begin": True, "ids": True, "layout": 0, "route": True}, "tokens", "文本"),
        ({"begin": False, "ids": True, "layout": 9, "route": True}, "messages", "消息"),
        ({"begin": False, "ids": True, "layout": 0, "route": False}, "messages", "消息"),
    ):
        server.script = serving(**kind)
        engine = remote(server.address, other_base, remote_model="m")
        prompt = ask(engine, "你好")
        text = engine.layout("auto", "silent").decode(prompt.ids)
        sent = {
            "tokens": list(prompt.ids),
            "text": text,
            "text-after-begin": text.removeprefix("<｜begin▁of▁sentence｜>"),
        }
        assert text_of(engine.stream(prompt, sampling=SHORT)) == said
        assert engine._forms == {"m": form}
        assert server.questions()[-1].get("prompt") == sent.get(form)
        server.asked.clear()
        assert text_of(engine.stream(prompt, sampling=SHORT)) == said
        assert len(server.questions()) == 1, "the probe is remembered"


def test_an_adapter_is_the_model_of_its_name(server: Loopback, other_base: Base, tmp_path: Path) -> None:
    listed = [
        {"id": "base-model", "max_model_len": 2048},
        {"id": "org/Tsundere", "parent": "base-model", "max_model_len": 1024},
        {"id": "cheer:latest", "parent": "base-model"},
    ]

    def vllm(asked: Asked) -> None:
        if asked.request is None:
            asked.body(200, json.dumps({"object": "list", "data": listed}))
        else:
            asked.events(delta(content=asked.request["model"]), END)

    server.script = vllm
    engine = remote(server.address, other_base, remote_form="messages", remote_adapters="cool=base-model, x = org/X")
    folders = {name: tmp_path / "runs" / name / "final_model" for name in ("tsundere", "cheer", "cool", "gone")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    prompt = ask(engine, "你好")

    def who(adapter: Adapter | None) -> str:
        return text_of(engine.stream(prompt, adapter, sampling=SHORT))

    assert who(None) == "base-model"
    assert who(Adapter(folders["tsundere"])) == "org/Tsundere"
    assert who(Adapter(folders["cheer"])) == "cheer:latest"
    assert who(Adapter(folders["cool"])) == "base-model"
    with pytest.raises(ModelError, match="gone") as caught:
        who(Adapter(folders["gone"]))
    assert "org/Tsundere" in str(caught.value)
    assert engine.context_length() == 1024
    del listed[1:]
    listed.append({"id": "another"})
    engine.close()
    with pytest.raises(ModelError, match="another"):
        who(None)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("127.0.0.1:11434/", "http://127.0.0.1:11434/v1"),
        ("https://api.deepseek.com/v1/chat/completions", "https://api.deepseek.com/v1"),
        ("https://open.bigmodel.cn/api/paas/v4/", "https://open.bigmodel.cn/api/paas/v4"),
        ("https://host/v1beta/openai", "https://host/v1beta/openai"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_an_address_as_people_copy_it(given: str, meant: str) -> None:
    assert base_url(given) == meant


@pytest.mark.parametrize(
    "given",
    ["", "  ", f"http://me:{KEY}@host/v1", f"http://host/v1?key={KEY}", "ftp://host", "http://", "http://h:99999/v1"],
)
def test_an_address_that_cannot_be_one_is_refused_unseen(given: str, other_base: Base) -> None:
    with pytest.raises(ModelError) as caught:
        remote(given, other_base)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} x", f"{KEY}中", f"{KEY}\x00"])
def test_a_key_that_cannot_be_one_is_refused_unseen(key: str, other_base: Base) -> None:
    with pytest.raises(ModelError) as caught:
        remote("http://127.0.0.1:9", other_base, key=key)
    assert KEY not in str(caught.value)


def test_the_key_is_sent_and_seen_nowhere(server: Loopback, other_base: Base, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    engine = talking(server, other_base, lambda asked: asked.events(delta(content="好"), END))
    assert heard(engine) == ("好", "")
    assert server.asked[-1].headers["Authorization"] == f"Bearer {KEY}"
    assert caplog.records, "the HTTP library logs"
    assert KEY not in caplog.text
    assert KEY not in repr(engine.settings) + str(vars(engine)) + str(vars(engine.server))
    unnamed = talking(server, other_base, server.script, key="")
    assert heard(unnamed) == ("好", "")
    assert server.asked[-1].headers["Authorization"] is None


def test_an_answer_in_pieces_that_make_no_sense_is_passed_over() -> None:
    events = [
        {},
        {"choices": 7},
        {"choices": [7]},
        {"choices": [{"delta": 7}]},
        {"choices": [{"delta": {"content": ["好"]}}], "usage": {"completion_tokens": True}},
        {"choices": [{"delta": {"content": "好"}, "logprobs": {"content": [7, {"token": "好"}]}}], "usage": 7},
    ]
    said = list(pieces(events, (), Thoughts(opens=True), 8, 2))
    assert text_of(said).strip() == "</think>\n\n好"
    assert said[-1].ended
