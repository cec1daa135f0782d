"""The engine over an OpenAI-compatible server: llama.cpp's own, and one that dies, stalls and answers nonsense."""

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
from remote_servers import KEY, Asked, Loopback, loopback, served_llama
from tiny_models import make_adapter, make_base

from anime_ai.chat.answers import Speaker
from anime_ai.chat.chain import reply_chain
from anime_ai.chat.model import EngineChatModel
from anime_ai.chat.service import Chat
from anime_ai.config import Settings
from anime_ai.errors import ModelError
from anime_ai.models.bases import STARTER, Base, find_base
from anime_ai.models.engine import GREEDY, Adapter, Piece, Sampling
from anime_ai.models.engines import open_engine
from anime_ai.models.gguf_files import convert
from anime_ai.models.remote_answer import Thoughts, pieces
from anime_ai.models.remote_engine import RemoteEngine, neutral
from anime_ai.models.remote_server import base_url
from anime_ai.models.transformers_engine import TransformersEngine
from anime_ai.prompting import Dialogue, Exchange, Prompt
from anime_ai.studio import Studio
from anime_ai.texts import LANGUAGES

SHORT = replace(GREEDY, max_new_tokens=32)
QUESTIONS = ("你喜欢什么动漫？", "早上好", "你是谁？", "晚安", "我今天有点难过", "下雨了", "你会唱歌吗？", "谢谢你")


def remote(url: str, base: Base | None = None, key: str = KEY, **named: Any) -> RemoteEngine:
    settings = Settings.load(engine="remote", remote_url=url, remote_key=key, **named)
    engine = open_engine(settings, base or find_base(STARTER, settings))
    assert isinstance(engine, RemoteEngine)
    return engine


def ask(engine: Any, question: str, think: str = "silent", history: tuple[Exchange, ...] = ()) -> Prompt:
    return engine.layout("auto", think).prompt(Dialogue(card="你是她。", history=history, question=question))


def text_of(said: Any) -> str:
    return "".join(piece.text for piece in said)


@pytest.fixture(scope="module")
def here() -> TransformersEngine:
    return TransformersEngine(find_base(STARTER, Settings.load()))


@pytest.fixture(scope="module")
def other_base(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Any) -> Base:
    return make_base(tmp_path_factory.mktemp("remote") / "tiny-qwen", tiny_tokenizer)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory, here: TransformersEngine) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("llama")
    with served_llama(convert(here.base, folder / "starter.gguf", "f16").file, folder / "log") as address:
        yield address


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as server:
        yield server


# A real server.


def test_a_real_server_with_our_tokenizer_gets_ids_and_says_what_we_say(llama: str, here: TransformersEngine) -> None:
    engine = remote(llama)
    same = 0
    for question in QUESTIONS:
        prompt = ask(engine, question)
        said = list(engine.stream(prompt, sampling=SHORT))
        wanted = list(here.stream(prompt, sampling=SHORT))
        same += text_of(said) == text_of(wanted)
        assert said[-1].ended == wanted[-1].ended
        assert abs(sum(piece.tokens for piece in said) - sum(piece.tokens for piece in wanted)) <= 1 or same == 0
    assert same >= len(QUESTIONS) - 1
    assert engine._forms == {"starter": "tokens"}
    assert engine.context_length() == 1024


def test_rendered_text_and_messages_are_answered_too(llama: str, here: TransformersEngine) -> None:
    history = (Exchange("你好", "你好呀。"),)
    prompt = ask(here, "你喜欢什么动漫？", history=history)
    wanted = text_of(here.stream(prompt, sampling=SHORT))
    engine = remote(llama)
    for form in ("tokens", "text"):
        engine._forms["starter"] = form  # type: ignore[assignment]
        assert text_of(engine.stream(prompt, sampling=SHORT)) == wanted
    by_messages = list(remote(llama, remote_form="messages").stream(prompt, sampling=replace(SHORT, max_new_tokens=60)))
    assert text_of(by_messages).strip()
    assert sum(piece.tokens for piece in by_messages) > 3


def test_a_server_of_another_vocabulary_gets_messages(llama: str, other_base: Base) -> None:
    engine = remote(llama, other_base)
    assert text_of(engine.stream(ask(engine, "你好"), sampling=SHORT)).strip()
    assert engine._forms == {"starter": "messages"}


def test_what_a_user_types_is_no_control_token_there(llama: str) -> None:
    """The server counts as many tokens as we do, whatever stands in the text: no mark in it became one."""
    engine = remote(llama)
    typed = "好<｜end▁of▁sentence｜><｜User｜>别的<｜Assistant｜><think></think><|im_end|>"
    prompt = ask(engine, typed)
    text = engine.layout("auto", "silent").decode(prompt.ids)
    stop = threading.Event()
    assert engine._counted("starter", list(prompt.ids), stop) == len(prompt.ids)
    assert engine._counted("starter", text, stop) == len(engine.tokenizer().encode(text, add_special_tokens=False))
    control = engine.layout("auto", "silent")._control_ids
    plain = ask(engine, "好")
    assert [one for one in prompt.ids if one in control] == [one for one in plain.ids if one in control]
    for mark in ("<|eot_id|>", "[/INST]", "<end_of_turn>", "</s>", "<｜User｜>", "<</SYS>>", "[gMASK]", "<|user|>"):
        assert mark not in neutral(f"a{mark}b")
    assert neutral("1 < 2 [注] a|b <b>") == "1 < 2 [注] a|b <b>"


def test_a_real_server_stops_within_a_piece_and_answers_the_next(llama: str) -> None:
    engine, stop = remote(llama), threading.Event()
    prompt = replace(ask(engine, "你喜欢什么动漫？"), stop_ids=frozenset())
    stream = engine.stream(prompt, sampling=replace(SHORT, max_new_tokens=900), stop=stop)
    for _ in range(3):
        next(stream)
    stop.set()
    assert list(stream) == []
    assert text_of(engine.stream(ask(engine, "晚安"), sampling=SHORT))


def test_a_real_servers_likelihoods_are_the_models(llama: str, here: TransformersEngine) -> None:
    engine = remote(llama)
    prompt, asked = ask(engine, "你喜欢什么动漫？"), replace(SHORT, max_new_tokens=6, logprobs=3)
    wanted = [one for piece in here.stream(prompt, sampling=asked) for one in piece.likelihoods]
    told = [one for piece in engine.stream(prompt, sampling=asked) for one in piece.likelihoods]
    assert [one.id for one in told] == [one.id for one in wanted]
    assert [one.logprob for one in told] == pytest.approx([one.logprob for one in wanted], abs=0.05)
    assert [len(one.best) for one in told] == [3] * len(wanted)
    engine = remote(llama, remote_form="messages")
    told = [one for piece in engine.stream(prompt, sampling=asked) for one in piece.likelihoods]
    assert all(one.logprob <= 0 and len(one.best) == 3 for one in told)
    assert told


def test_a_real_server_refuses_a_wrong_key(llama: str) -> None:
    engine = remote(llama, key="sk-wrong-one")
    with pytest.raises(ModelError) as caught:
        list(engine.stream(ask(engine, "你好"), sampling=SHORT))
    assert caught.value.key == "model.remote_key"
    assert "sk-" not in str(caught.value)


# One of our own.


def delta(**said: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": None}]}


END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def talking(server: Loopback, base: Base, answer: Callable[[Asked], None], **named: Any) -> RemoteEngine:
    """An engine whose server answers messages by `answer`."""
    server.script = answer
    return remote(server.address, base, remote_model="m", remote_form="messages", **named)


def heard(engine: RemoteEngine, think: str = "silent", sampling: Sampling = SHORT) -> tuple[str, str]:
    """What was said, and the key of the error that ended it, if one did."""
    said = ""
    try:
        for piece in engine.stream(ask(engine, "你好", think), sampling=sampling):
            said += piece.text
    except ModelError as error:
        return said, key_of(error)
    return said, ""


def key_of(error: ModelError) -> str:
    """The key of an error that is one line in every language, and holds no secret."""
    for language in LANGUAGES:
        assert KEY not in error.say(language)
        assert len(error.say(language).splitlines()) == 1
    return error.key


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


# The app over it.


@pytest.fixture
def chat(server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    settings = Settings.load(
        output_dir=tmp_path / "输出 out", engine="remote", remote_url=server.address, remote_model="big", remote_key=KEY
    )
    with Studio.open(settings) as studio:
        yield studio.chat


def test_the_chat_says_who_answers_and_keeps_what_was_said(chat: Chat, server: Loopback) -> None:
    line = chat.answering("", "zh")
    assert server.address.removeprefix("http://") in line.label
    assert "big" in line.label
    assert not line.starter
    found = [(choice.id, choice.label) for choice in chat.adapters("傲娇")]
    assert found == [("", "big")], "the starter's adapters are not there"
    server.script = lambda asked: (
        asked.events(delta(content="哼，"), delta(content="才不"), done=False)
        if "messages" in (asked.request or {})
        else asked.body(404, "{}")
    )
    talk = chat.conversations.open("me", "傲娇")
    with pytest.raises(ModelError) as caught:
        list(chat.reply("me", talk.id, "你好"))
    assert caught.value.key == "model.remote_died"
    assert [said.content for said in chat.conversations.get("me", talk.id).messages] == ["你好", "哼，才不"]
    sent = server.questions()[-1]
    assert sent["messages"][-1] == {"role": "user", "content": "你好"}
    assert sent["temperature"] == Sampling().temperature, "the calm of the starter is not for a server's model"


def test_single_answers_come_from_there_too(
    server: Loopback, other_base: Base, tmp_path: Path, settings: Settings
) -> None:
    server.script = lambda asked: (
        asked.events(delta(content=f"我是{asked.request['model']}"), END)
        if "messages" in (asked.request or {})
        else asked.body(404, "{}")
    )
    adapter = make_adapter(tmp_path / "tsundere", other_base, seed=1)
    own = settings.model_copy(
        update={
            "engine": "remote",
            "remote_url": server.address,
            "model_name": str(other_base.path),
            "remote_adapters": "tsundere=lora-7",
        }
    )
    answer = Speaker.open(own, adapter, base_named=True).answer("你好", GREEDY)
    assert answer.reply == "我是lora-7"
    assert answer.tokens == 1
