"""Fetching models from a hub that stalls, dies half-way and lies: resumed, checked, and never half there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_hub import FakeHub, only_hub
from tiny_models import change_json, make_base

from anime_ai.config import ROOT, Settings
from anime_ai.errors import ModelError
from anime_ai.models import fetching
from anime_ai.models.bases import find_base, on_disk
from anime_ai.models.catalogue import BASE_FILES, CATALOGUE
from anime_ai.models.downloads import Download, Downloads
from anime_ai.models.fetching import Fetch, Order, Stopped, arrived, discard, home
from anime_ai.models.hub import cached
from anime_ai.models.sources import Hub, ModelScope, is_plain, source

ID = "someone/tiny"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Any) -> dict[str, bytes]:
    """A real model of some 600 kB, and what nobody should fetch beside it."""
    base = make_base(tmp_path_factory.mktemp("remote") / "tiny", tiny_tokenizer, hidden=128)
    found = {file.name: file.read_bytes() for file in base.path.iterdir()}
    assert len(found[WEIGHTS]) > 2**19
    return {**found, "pytorch_model.bin": b"pickle", "modeling.py": b"raise SystemExit", "onnx/model.onnx": b"onnx"}


@pytest.fixture
def hub(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """The hub of a test, which every source leads to, over a cache of the test's own."""
    with only_hub(monkeypatch, tmp_path / "缓存 cache") as made:
        made.models[ID] = dict(files)
        yield made


@pytest.fixture
def settings(hub: FakeHub, tmp_path: Path) -> Settings:
    return Settings(output_dir=tmp_path / "out", hub_timeout=2, hub_mirror=hub.endpoint, modelscope=hub.endpoint)


@pytest.fixture
def downloads(settings: Settings) -> Iterator[Downloads]:
    made = Downloads(settings)
    yield made
    made.close()


def ordered(hub: FakeHub, **more: Any) -> Fetch:
    return Fetch(Order(ID, BASE_FILES), Hub(hub.endpoint), **{"timeout": 2.0, **more})


def refused(fetch: Fetch) -> str:
    with pytest.raises(ModelError) as caught:
        fetch.run()
    assert len({caught.value.say(language) for language in ("zh", "en", "ja")}) == 3
    return caught.value.key


def content(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def until(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def test_a_model_arrives_whole_and_others_find_it(hub: FakeHub, settings: Settings, files: dict[str, bytes]) -> None:
    assert not on_disk(ID)
    place = ordered(hub).run()
    assert content(place) == {name: said for name, said in files.items() if name not in (*NOT_OURS,)}
    assert find_base(ID, settings).path == place
    found = cached(ID, WEIGHTS)
    assert found is not None
    assert found.read_bytes() == files[WEIGHTS]
    assert not list(home(ID).glob("arriving*/*"))
    asked = len(hub.asked)
    assert ordered(hub).run() == place
    assert len(hub.asked) == asked, "what is here is not fetched again"


NOT_OURS = ("pytorch_model.bin", "modeling.py", "onnx/model.onnx")


def test_the_libraries_of_the_hub_find_it_too(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants, hf_hub_download, scan_cache_dir, snapshot_download

    place = ordered(hub).run()
    where = {"cache_dir": constants.HF_HUB_CACHE, "local_files_only": True}
    assert Path(snapshot_download(ID, **where)).resolve() == place.resolve()
    assert Path(hf_hub_download(ID, WEIGHTS, **where)).resolve() == (place / WEIGHTS).resolve()
    (listed,) = scan_cache_dir(constants.HF_HUB_CACHE).repos
    assert listed.repo_id == ID


def test_what_died_half_way_is_gone_on_with(hub: FakeHub, files: dict[str, bytes]) -> None:
    size = len(files[WEIGHTS])
    hub.dies[WEIGHTS] = [200_000, 100_000]
    place = ordered(hub).run()
    assert (place / WEIGHTS).read_bytes() == files[WEIGHTS]
    ranges = [asked for path, asked in hub.asked if path == WEIGHTS]
    assert ranges[0] == ""
    assert [asked.startswith("bytes=") for asked in ranges[1:]] == [True, True]
    assert hub.sent < size * 1.2 + sum(len(one) for one in files.values()) - size, "nothing came twice"


def test_a_hub_that_dies_again_and_again_is_told_and_what_came_stays(hub: FakeHub, files: dict[str, bytes]) -> None:
    hub.dies[WEIGHTS] = [150_000] + [0] * 20
    assert refused(ordered(hub)) == "model.download_failed"
    assert not on_disk(ID)
    (part,) = arrived()
    assert (part.id, part.total) == (ID, sum(len(said) for name, said in files.items() if name not in NOT_OURS))
    assert 150_000 <= part.done < part.total
    hub.dies.clear()
    before = hub.sent
    place = ordered(hub).run()
    assert hub.sent - before == part.total - part.done
    assert (place / WEIGHTS).read_bytes() == files[WEIGHTS]


def test_another_source_goes_on_where_the_first_one_died(
    hub: FakeHub, settings: Settings, files: dict[str, bytes]
) -> None:
    hub.dies[WEIGHTS] = [150_000] + [0] * 20
    assert refused(ordered(hub)) == "model.download_failed"
    hub.dies.clear()
    hub.asked.clear()
    place = Fetch(Order(ID, BASE_FILES), source(settings, "modelscope"), 2.0).run()
    ((_, asked),) = [one for one in hub.asked if one[0] == WEIGHTS]
    assert int(asked.removeprefix("bytes=").removesuffix("-")) >= 150_000
    assert (place / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert find_base(ID, settings).path == place


def test_a_silent_hub_is_told_in_seconds_and_a_stop_ends_it(hub: FakeHub) -> None:
    hub.stalls[WEIGHTS] = 2**16
    fetch = ordered(hub, timeout=0.3)
    assert refused(fetch) == "model.download_failed"
    stopping = threading.Event()
    fetch = ordered(hub, timeout=0.3, stop=stopping)
    stopping.set()
    with pytest.raises(Stopped):
        fetch.run()
    assert arrived()[0].done >= 2**16, "what has arrived stays"
    discard(fetch.order)
    assert arrived() == []


def test_a_hub_that_begins_again_at_the_beginning_is_borne(hub: FakeHub, files: dict[str, bytes]) -> None:
    hub.ranges = False
    hub.dies[WEIGHTS] = [200_000]
    fetch = ordered(hub)
    assert (fetch.run() / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert fetch.done == fetch.total


def test_a_hub_that_is_busy_is_asked_again(hub: FakeHub, files: dict[str, bytes]) -> None:
    hub.broken[WEIGHTS] = [503, 429]
    assert (ordered(hub).run() / WEIGHTS).read_bytes() == files[WEIGHTS]
    hub.models["someone/gone"] = dict(files)
    hub.broken[WEIGHTS] = [403]
    assert refused(Fetch(Order("someone/gone", BASE_FILES), Hub(hub.endpoint), 2.0)) == "model.download_failed"


@pytest.mark.parametrize("where", ["hub", "mirror", "modelscope"])
@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_file_with_another_hash_is_removed_and_said(
    hub: FakeHub, settings: Settings, files: dict[str, bytes], where: str, name: str
) -> None:
    hub.lies[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])
    fetch = Fetch(Order(ID, BASE_FILES), source(settings, where), 2.0)
    with pytest.raises(ModelError) as caught:
        fetch.run()
    assert caught.value.key == "model.wrong_hash"
    assert name in caught.value.say("zh")
    assert not on_disk(ID)
    assert not any(said == hub.lies[name] for said in content(home(ID)).values()), "the false file is gone"
    hub.lies.clear()
    assert content(fetch.run())[name] == files[name]


def test_a_file_that_is_longer_or_shorter_than_it_was_said_to_be(hub: FakeHub, files: dict[str, bytes]) -> None:
    hub.lies[WEIGHTS] = files[WEIGHTS] + b"more"
    assert refused(ordered(hub)) == "model.wrong_hash"
    hub.lies[WEIGHTS] = files[WEIGHTS][:-10]
    assert refused(ordered(hub)) == "model.download_failed"
    assert not on_disk(ID)


def test_pickles_and_code_are_never_fetched(hub: FakeHub, files: dict[str, bytes], tmp_path: Path) -> None:
    hub.models["some/pickles"] = {"config.json": b"{}", "pytorch_model.bin": b"pickle", "tokenizer.json": b"{}"}
    assert refused(Fetch(Order("some/pickles", BASE_FILES), Hub(hub.endpoint), 2.0)) == "model.only_pickles"
    assert hub.asked == []
    (tmp_path / "config.json").write_bytes(files["config.json"])
    change_json(tmp_path / "config.json", auto_map={"AutoModelForCausalLM": "modeling.Evil"})
    hub.models["some/code"] = {**files, "config.json": (tmp_path / "config.json").read_bytes()}
    assert refused(Fetch(Order("some/code", BASE_FILES), Hub(hub.endpoint), 2.0)) == "model.remote_code"
    assert WEIGHTS not in [path for path, _ in hub.asked], "refused before the weights come"
    assert not on_disk("some/code")


def test_safetensors_that_the_hubs_converter_offers_are_taken(hub: FakeHub, files: dict[str, bytes]) -> None:
    only = {name: said for name, said in files.items() if name != WEIGHTS}
    hub.models["old/pickles"] = only
    hub.models["old/pickles@refs/pr/7"] = {**only, WEIGHTS: files[WEIGHTS]}
    ours = {"num": 7, "author": {"name": "SFconvertbot"}, "isPullRequest": True, "status": "open"}
    hub.discussions["old/pickles"] = [{**ours, "num": 6, "author": {"name": "somebody"}}, ours]
    place = Fetch(Order("old/pickles", BASE_FILES), Hub(hub.endpoint), 2.0).run()
    assert (place / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert on_disk("old/pickles")


def test_a_full_disk_is_told_before_anything_comes(
    hub: FakeHub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=fetching.SPARE + 400_000))
    with pytest.raises(ModelError) as caught:
        ordered(hub).run()
    assert caught.value.key == "model.disk_full"
    assert hub.asked == []
    monkeypatch.undo()


@pytest.mark.parametrize(
    "listing",
    [b"<html>", b"[1]", {"siblings": "no"}, {"siblings": [{"rfilename": WEIGHTS}, {"rfilename": "config.json"}]}],
)
def test_nonsense_for_a_listing_is_told(hub: FakeHub, listing: Any) -> None:
    hub.listing = listing
    assert refused(ordered(hub)) == "model.hub_silent"


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("config.json", True),
        ("1_Pooling/config.json", True),
        ("模型 v1.safetensors", True),
        ("../config.json", False),
        ("a/../../b.json", False),
        ("/etc/passwd", False),
        ("C:\\a.json", False),
        ("a//b.json", False),
        ("./a.json", False),
        ("a.json ", False),
        ("a\0.json", False),
        (None, False),
    ],
)
def test_a_path_that_leads_out_of_the_folder_is_no_file(path: Any, plain: bool) -> None:
    assert is_plain(path) is plain


def test_a_model_that_is_not_there_is_told(hub: FakeHub) -> None:
    assert refused(Fetch(Order("some/where", BASE_FILES), Hub(hub.endpoint), 2.0)) == "model.unknown"
    assert refused(Fetch(Order("some/where", BASE_FILES), ModelScope(hub.endpoint), 2.0)) == "model.unknown_there"
    assert not home("some/where").exists()


def test_two_at_once_do_it_once(hub: FakeHub) -> None:
    hub.pace.clear()
    first = ordered(hub)
    done: list[Path] = []
    thread = threading.Thread(target=lambda: done.append(first.run()))
    thread.start()
    until(lambda: first.total)
    assert refused(ordered(hub)) == "model.arriving_elsewhere"
    hub.pace.set()
    thread.join(20)
    assert done


# The service


def test_a_download_goes_on_behind_the_page_and_tells_how_far_it_is(
    hub: FakeHub, downloads: Downloads, files: dict[str, bytes]
) -> None:
    hub.stalls[WEIGHTS] = 300_000
    assert downloads.start(ID).active
    until(lambda: (now := downloads.get(ID)) is not None and now.done >= 300_000)
    now = downloads.get(ID)
    assert now is not None
    assert (now.state, now.source) == ("running", "hub")
    assert 0 < now.done < now.total
    assert downloads.start(ID).state == "running", "a second click changes nothing"
    hub.released.set()
    assert [one.state for one in downloads.watch(ID, 0.01)][-1] == "finished"
    assert on_disk(ID)


def test_a_stop_is_seen_at_once_and_gone_on_with(hub: FakeHub, downloads: Downloads, files: dict[str, bytes]) -> None:
    hub.stalls[WEIGHTS] = 300_000
    downloads.start(ID)
    until(lambda: (now := downloads.get(ID)) is not None and now.done >= 300_000)
    downloads.stop(ID)
    now = downloads.get(ID)
    assert now is not None
    assert (now.state, now.done >= 300_000) == ("stopped", True)
    hub.released.set()
    downloads.start(ID)
    assert [one.state for one in downloads.watch(ID, 0.01)][-1] == "finished"
    assert hub.sent < 1.2 * sum(map(len, files.values())), "it went on where it was"


def test_what_was_running_goes_on_when_the_app_is_back_and_what_was_stopped_waits(
    hub: FakeHub, settings: Settings, files: dict[str, bytes]
) -> None:
    hub.models["another/tiny"] = dict(files)
    hub.stalls[WEIGHTS] = 300_000
    first = Downloads(settings)
    first.start("another/tiny")
    until(lambda: (now := first.get("another/tiny")) is not None and now.done >= 300_000)
    first.stop("another/tiny")
    first.start(ID, "modelscope")
    first.close()
    second = Downloads(settings)
    hub.stalls.clear()
    second.begin()
    assert [one.state for one in second.watch(ID, 0.01)][-1] == "finished"
    waiting = second.get("another/tiny")
    assert waiting is not None
    assert (waiting.state, waiting.done >= 300_000) == ("stopped", True)
    second.discard("another/tiny")
    assert second.get("another/tiny") is None
    assert not on_disk("another/tiny")
    second.close()


def test_what_failed_is_said_and_the_next_one_goes_on(hub: FakeHub, downloads: Downloads) -> None:
    downloads.start("no/such")
    downloads.start(ID)
    with pytest.raises(ModelError) as caught:
        list(downloads.watch("no/such", 0.01))
    assert caught.value.key == "model.unknown_there"
    assert [one.state for one in downloads.watch(ID, 0.01)][-1] == "finished"
    with pytest.raises(ModelError):
        downloads.start("../../etc")
    with pytest.raises(ModelError):
        downloads.start(ID, "ftp")
    with pytest.raises(ModelError):
        list(downloads.watch("nobody/asked"))


def test_what_came_as_it_was_said_and_is_no_model_is_told(
    hub: FakeHub, downloads: Downloads, files: dict[str, bytes]
) -> None:
    hub.models["some/zeros"] = {**files, WEIGHTS: bytes(100_000)}
    hub.models["some/parts"] = {name: said for name, said in files.items() if name != "tokenizer.json"}
    for id, key in (("some/zeros", "model.broken_file"), ("some/parts", "model.incomplete")):
        downloads.start(id)
        with pytest.raises(ModelError) as caught:
            list(downloads.watch(id, 0.01))
        assert caught.value.key == key
        assert not on_disk(id)


def test_the_source_that_was_chosen_is_remembered(downloads: Downloads, settings: Settings) -> None:
    assert downloads.chosen == "hub"
    downloads.choose("modelscope")
    assert Downloads(settings).chosen == "modelscope"
    with pytest.raises(ModelError):
        downloads.choose("../x")


def test_what_a_model_wants_beside_it_comes_with_it(hub: FakeHub, settings: Settings) -> None:
    hub.models["tower"] = {"config.json": b"{}", "model.safetensors": b"no"}
    made = Downloads(settings, lambda folder: [Order("tower", ("config.json",), ("config.json",))])
    made.start(ID)
    assert [one.state for one in made.watch(ID, 0.01)][-1] == "finished"
    assert cached("tower", "config.json")
    assert not cached("tower", "model.safetensors")
    made.close()


def test_a_speed_tells_the_time_that_is_left() -> None:
    assert Download("a/b", "base", "hub", "running", 50, 150, 25.0).seconds == 4
    assert Download("a/b", "base", "hub", "running", 0, 0, 0.0).seconds is None


# The command line


def command(hub: FakeHub, tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    """`python -m anime_ai model …` over a hub and a cache of the test's own."""
    env = {name: said for name, said in os.environ.items() if not name.startswith("ANIME_AI_")}
    env |= {"PYTHONPATH": str(ROOT), "ANIME_AI_LANGUAGE": "zh", "ANIME_AI_HUB_TIMEOUT": "2"}
    env |= {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(tmp_path / "缓存 cache")}
    said = [sys.executable, "-m", "anime_ai", "model", *arguments]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    return subprocess.Popen(said, cwd=tmp_path, env=env, **pipes)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a signal of a terminal")
def test_an_interrupt_of_the_command_leaves_what_a_second_one_goes_on_with(
    hub: FakeHub, tmp_path: Path, files: dict[str, bytes]
) -> None:
    hub.stalls[WEIGHTS] = 300_000
    with command(hub, tmp_path, "download", ID) as first:
        until(lambda: arrived() and arrived()[0].done >= 300_000, 100)
        first.send_signal(signal.SIGINT)
        told = first.communicate(timeout=60)
    assert first.returncode == 1
    assert "接着下" in told[1].splitlines()[-1]
    assert "Traceback" not in told[1]
    assert not on_disk(ID)
    assert arrived()[0].done >= 300_000
    hub.stalls.clear()
    before = hub.sent
    with command(hub, tmp_path, "download", ID, "--json") as second:
        given, said = second.communicate(timeout=100)
    assert second.returncode == 0, said
    assert json.loads(given)["id"] == ID
    assert hub.sent - before < len(files[WEIGHTS]) - 200_000
    with command(hub, tmp_path, "list", "--json") as third:
        given, _ = third.communicate(timeout=100)
    listed = {one["id"]: one for one in json.loads(given)}
    assert listed[ID]["present"]
    assert not listed[CATALOGUE[0].id]["present"]
    assert listed[CATALOGUE[0].id]["train_bytes"] > listed[CATALOGUE[0].id]["chat_bytes"] > 4e9


# The shelf
