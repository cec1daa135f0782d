"""The open endpoint without HTTP: forms, keys, counts, and what reaches the model."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ui_fakes import open_studio

from anime_ai.errors import AccessError, AnimeAIError, SettingsError
from anime_ai.models.bases import Base
from anime_ai.serving import meter as meters
from anime_ai.serving.completions import NoModelError
from anime_ai.serving.keys import PREFIX
from anime_ai.serving.meter import DAY, HOUR, Meter, QuotaError
from anime_ai.serving.openai_form import FormError, Said, Wanted, read_request
from anime_ai.studio import Studio


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with open_studio(tmp_path / "工作室 one") as found:
        yield found


def request(**fields: Any) -> Wanted:
    plain = {"model": "傲娇", "messages": [{"role": "user", "content": "早上好"}]}
    return read_request(json.dumps({**plain, **fields}).encode())


# Forms


def test_a_request_is_read_as_openai_means_it() -> None:
    wanted = request(
        messages=[
            {"role": "system", "content": "下雨了。"},
            {"role": "assistant", "content": "哼。"},
            {"role": "user", "content": [{"type": "text", "text": "在吗"}, {"type": "text", "text": "喂"}]},
            {"role": "user", "content": "说话呀", "name": "我"},
            {"role": "developer", "content": "别太长。"},
        ],
        stop="。",
        seed=-1,
        temperature=0,
        top_p=0,
        max_completion_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
        frequency_penalty=0.3,
        user="u1",
        anime_ai={"lore": True, "knowledge": False, "adapter": "", "think": "open"},
    )
    assert wanted.messages == (Said("assistant", "哼。"), Said("user", "在吗\n喂\n说话呀"))
    assert wanted.system == "下雨了。\n\n别太长。"
    assert (wanted.sampling.temperature, wanted.sampling.top_p, wanted.sampling.max_new_tokens) == (0, 1.0, 12)
    assert wanted.sampling.seed == 2**63 - 1
    assert (wanted.stops, wanted.stream, wanted.usage) == (("。",), True, True)
    assert (wanted.switches, wanted.adapter, wanted.think) == ({"lore"}, "", "open")
    assert request().adapter is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [["user", "x"]]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages"),
        ({"messages": [{"role": "assistant", "content": "b"}]}, "messages"),
        ({"messages": [{"role": "system", "content": "b"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"temperature": 9}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": "0.5"}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"seed": "x"}, "seed"),
        ({"stop": [1]}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"n": 2}, "n"),
        ({"tools": [{}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"anime_ai": []}, "anime_ai"),
        ({"anime_ai": {"memory": True}}, "anime_ai.memory"),
        ({"anime_ai": {"think": "loud"}}, "anime_ai"),
    ],
)
def test_what_is_wrong_is_refused_by_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(FormError) as refused:
        request(**fields)
    assert refused.value.param == param
    assert param in refused.value.say("zh")
    assert param in refused.value.say("en")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(FormError):
        read_request(body)


# Keys and counts


def test_a_key_is_256_random_bits_and_stands_nowhere_as_it_is(studio: Studio) -> None:
    key, secret = studio.keys.make("手机上的酒馆")
    assert secret.startswith(PREFIX)
    assert len(secret) >= len(PREFIX) + 43
    assert studio.keys.check(secret) == key
    files = [path for path in studio.settings.output_dir.rglob("*") if path.is_file()]
    assert files
    assert not any(secret.encode() in path.read_bytes() for path in files)
    assert secret not in repr(key) + repr(studio.keys.list())
    assert key.person == f"key:{key.id}", "it sees what a visitor sees"


def test_what_is_no_key_and_what_was_revoked_are_refused_alike(studio: Studio) -> None:
    key, secret = studio.keys.make("一次")
    studio.keys.revoke(key.id)
    assert studio.keys.list() == []
    for given in (secret, PREFIX, "", "x" * 10_000, "\ud800", key.id):
        with pytest.raises(AccessError) as refused:
            studio.keys.check(given)
        assert refused.value.key == "serving.no_key"
    for gone in (key.id, "nothing"):
        with pytest.raises(AccessError):
            studio.keys.revoke(gone)


@pytest.mark.parametrize(
    "values",
    [{"name": " "}, {"name": "x" * 61}, {"name": "a\0b"}, {"per_minute": -1}, {"per_day": 10**12}, {"per_day": 1.5}],
)
def test_a_key_that_makes_no_sense_is_refused(studio: Studio, values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        studio.keys.make(**{"name": "x", **values})
    assert studio.keys.list() == []


def test_a_key_has_so_many_requests_a_minute_and_tokens_a_day(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = studio.keys.make("少", per_minute=2, per_day=100)
    other, _ = studio.keys.make("另一个", per_minute=2, per_day=100)
    for _ in range(2):
        studio.keys.admit(key)
    with pytest.raises(QuotaError) as refused:
        studio.keys.admit(key)
    assert refused.value.key == "serving.per_minute"
    assert 1 <= refused.value.wait <= 60
    studio.keys.admit(other)
    studio.keys.spend(other, 60)
    studio.keys.spend(other, 60)
    with pytest.raises(QuotaError) as refused:
        studio.keys.admit(other)
    assert refused.value.key == "serving.per_day"
    assert {one.name: one.today for one in studio.keys.list()} == {"少": 0, "另一个": 120}
    tomorrow = time.time() + DAY
    monkeypatch.setattr(meters.time, "time", lambda: tomorrow)
    studio.keys.admit(other)


def test_counts_outlive_a_restart_are_exact_among_threads_and_are_forgotten(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = Meter(studio.database)

    def count() -> None:
        for _ in range(20):
            meter.add("v1", "messages", HOUR, 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Meter(studio.database).used("v1", "messages", HOUR) == 80
    later = time.time() + 3 * DAY
    monkeypatch.setattr(meters.time, "time", lambda: later)
    Meter(studio.database).add("v2", "messages", HOUR, 1)
    with closing(sqlite3.connect(studio.settings.studio_dir / "studio.db")) as raw:
        assert raw.execute("SELECT subject FROM usage").fetchall() == [("v2",)]


# What reaches the model


def said(studio: Studio, person: str = "owner", **fields: Any) -> tuple[str, Any]:
    parts = list(studio.completions.answer(request(**fields), person, threading.Event()))
    return "".join(part.text for part in parts), parts[-1]


def test_personas_are_models_and_an_unpublished_one_is_the_owners(studio: Studio) -> None:
    hidden = studio.personas.create("深藏")
    models = studio.completions.models("owner")
    assert {"傲娇", "深藏", "base"} <= set(models)
    assert "深藏" not in studio.completions.models("key:x")
    voice = studio.completions.voice("傲娇+lore+knowledge", "key:x")
    assert (voice.persona, voice.switches) == ("傲娇", {"lore", "knowledge"})
    assert studio.completions.voice("base", "key:x").persona == ""
    assert studio.completions.voice("tsundere", "key:x").persona == "傲娇"
    for name in ("深藏", hidden.id, "傲娇+fire", "+lore", "gpt-4", "", "傲娇 "):
        with pytest.raises(NoModelError):
            studio.completions.voice(name, "key:x")
    assert studio.completions.voice("深藏", "owner").persona == "深藏"


def test_an_answer_ends_before_a_stop_text_and_tells_why(studio: Studio) -> None:
    studio.chat.answers[:] = ["今天下雨。明天也是。", "今天下雨", "一二三"]  # type: ignore[attr-defined]
    whole, last = said(studio, stop=["。"])
    assert (whole, last.reason) == ("今天下雨", "stop")
    whole, last = said(studio, stop=["很长的一个记号"])
    assert (whole, last.reason, last.usage.written) == ("今天下雨", "stop", 4)
    stop = threading.Event()
    stop.set()
    cut = list(studio.completions.answer(request(), "owner", stop))
    assert cut[-1].reason == "length"


def test_documents_are_asked_only_where_the_request_says_so(studio: Studio) -> None:
    library = studio.knowledge.library
    studio.knowledge.paste(library.create("港口"), "灯塔", "月见港的灯塔高三十米，建于一百年前。")
    question = [{"role": "user", "content": "月见港的灯塔有多高？"}]
    assert "三十米" not in said(studio, messages=question)[0]
    assert "三十米" in said(studio, messages=question, anime_ai={"knowledge": True})[0]
    assert "三十米" in said(studio, messages=question, model="傲娇+knowledge")[0]


def test_an_unknown_adapter_is_said(studio: Studio) -> None:
    with pytest.raises(AnimeAIError) as refused:
        said(studio, anime_ai={"adapter": "run:nothing"})
    assert refused.value.key == "model.unknown_adapter"


def test_the_whole_conversation_reaches_the_prompt_and_is_counted(base: Base, tmp_path: Path) -> None:
    """The persona's line, the client's system message, the history, the question."""
    from anime_ai.config import Settings
    from anime_ai.models.transformers_engine import TransformersEngine
    from anime_ai.storage import Database

    settings = Settings(output_dir=tmp_path, model_name=str(base.path), engine="transformers")
    with Studio(settings, Database.open(settings)) as studio:
        prompts: list[Any] = []
        whole = TransformersEngine.stream

        def watched(self: Any, prompt: Any, *given: Any) -> Any:
            prompts.append(prompt)
            return whole(self, prompt, *given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TransformersEngine, "stream", watched)
            messages = [
                {"role": "system", "content": "外面在下雪。"},
                {"role": "assistant", "content": "你来啦。"},
                {"role": "user", "content": "早上好"},
                {"role": "assistant", "content": "早。"},
                {"role": "user", "content": "今天做什么？"},
            ]
            options = {"messages": messages, "seed": 7, "max_tokens": 24}
            first, last = said(studio, **options)
            again, _ = said(studio, **options)
            said(studio, messages=[*messages, {"role": "assistant", "content": "我想去"}], max_tokens=4)
        text = studio.layout()[1].tokenizer.decode(prompts[0].ids)
        line = studio.personas.system_line("傲娇")
        places = [text.index(one) for one in (line, "外面在下雪。", "你来啦。", "早上好", "早。", "今天做什么？")]
        assert places == sorted(places)
        assert studio.layout()[1].tokenizer.decode(prompts[2].ids).endswith("我想去"), "an answer is gone on with"
        assert first == again != ""
        assert last.usage.read == len(prompts[0].ids)
        assert 0 < last.usage.written <= 24
        assert studio.conversations.list("owner") == [], "nothing is kept"
