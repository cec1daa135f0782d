"""Bases, adapters and the device: what is taken, and what is refused with a line that says what to do."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tiny_models import change_json, make_adapter, make_base

from anime_ai.config import Settings
from anime_ai.errors import ModelError
from anime_ai.models.adapters import base_of, check_adapter
from anime_ai.models.bases import DEFAULT, Base, find_base, on_disk
from anime_ai.models.device import SMALL, Device, pick_device


@pytest.fixture(scope="module")
def good_adapter(tmp_path_factory: pytest.TempPathFactory, base: Base) -> Path:
    return make_adapter(tmp_path_factory.mktemp("adapters") / "good", base, seed=1)


@pytest.fixture
def folder(base: Base, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may break."""
    return Path(shutil.copytree(base.path, tmp_path / "broken"))


@pytest.fixture
def adapter(good_adapter: Path, tmp_path: Path) -> Path:
    """A copy of an adapter that a test may break."""
    return Path(shutil.copytree(good_adapter, tmp_path / "run" / "final_model"))


def test_a_fingerprint_tells_weights_of_one_shape_apart(base: Base, tiny_tokenizer: Any, tmp_path: Path) -> None:
    assert base.fingerprint() == make_base(tmp_path / "same", tiny_tokenizer, hidden=64).fingerprint()
    assert base.fingerprint() != make_base(tmp_path / "other", tiny_tokenizer, hidden=64, seed=8).fingerprint()


def test_auto_is_the_starter_where_nothing_better_is_on_the_disk(settings: Settings, starter: Path) -> None:
    found = find_base("auto", settings)
    assert (found.id, found.path, found.starter) == ("starter", starter, True)
    assert found == find_base("starter", settings)
    assert found.parameters() > 1_000_000


def test_a_folder_is_a_model_and_is_counted_by_its_headers(settings: Settings, base: Base) -> None:
    from transformers import Qwen2ForCausalLM

    found = find_base(str(base.path), settings)
    assert found == base
    assert found.parameters() == Qwen2ForCausalLM.from_pretrained(base.path).num_parameters()


@pytest.mark.parametrize(
    "name",
    ["", "  ", "no-such-model", "./no/such", "/no/such/folder", "a/b/c", "a/b c", "../up", "x/" + "y" * 300, "a\0b/c"],
)
def test_a_name_that_means_nothing_is_unknown_without_asking_anybody(settings: Settings, name: str) -> None:
    with pytest.raises(ModelError) as caught:
        find_base(name, settings, download=True)
    assert caught.value.key == "model.unknown"
    assert not on_disk(name)


def test_a_hub_model_that_is_not_here_is_said_not_replaced(settings: Settings) -> None:
    assert not on_disk(DEFAULT)
    with pytest.raises(ModelError) as caught:
        find_base(DEFAULT, settings)
    assert caught.value.key == "model.not_on_disk"


def _truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _garble(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)


def _header_of_nonsense(folder: Path) -> None:
    header = json.dumps({"a": {"data_offsets": [0, 8], "shape": "no"}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))


def _no_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]", encoding="utf-8")


def _remote_code(folder: Path) -> None:
    change_json(folder / "config.json", auto_map={"AutoModelForCausalLM": "evil.Model"})
    (folder / "evil.py").write_text("raise SystemExit('ran')", encoding="utf-8")


def _pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _shard_missing(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "key"),
    [
        (_truncate, "model.broken_file"),
        (_garble, "model.broken_file"),
        (_header_of_nonsense, "model.broken_file"),
        (_no_config, "model.no_config"),
        (_remote_code, "model.remote_code"),
        (_pickle_only, "model.no_safetensors"),
        (_shard_missing, "model.incomplete"),
        (_no_tokenizer, "model.incomplete"),
    ],
)
def test_a_broken_model_folder_is_refused_before_it_is_loaded(
    settings: Settings, folder: Path, spoil: Any, key: str
) -> None:
    spoil(folder)
    with pytest.raises(ModelError) as caught:
        find_base(str(folder), settings)
    assert caught.value.key == key
    assert caught.value.say("zh") != caught.value.say("en")


class _Hub(BaseHTTPRequestHandler):
    status = 404

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def hub_that_answers(status: int) -> Iterator[str]:
    handler = type("Handler", (_Hub,), {"status": status})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def silent_hub() -> Iterator[str]:
    """Accepts every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _download(monkeypatch: pytest.MonkeyPatch, endpoint: str, told: list[bool]) -> ModelError:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    with pytest.raises(ModelError) as caught:
        find_base("some/model", Settings.load(hub_timeout=0.5), download=True, tell=lambda: told.append(True))
    return caught.value


@pytest.mark.parametrize(("status", "key"), [(404, "model.unknown"), (401, "model.unknown"), (503, "model.hub_silent")])
def test_what_the_hub_answers_is_told(monkeypatch: pytest.MonkeyPatch, status: int, key: str) -> None:
    told: list[bool] = []
    with hub_that_answers(status) as endpoint:
        assert _download(monkeypatch, endpoint, told).key == key
    assert not told


def test_a_hub_that_is_silent_refuses_or_is_no_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with silent_hub() as endpoint:
        error = _download(monkeypatch, endpoint, [])
    assert error.key == "model.hub_silent"
    assert endpoint in error.say("en")
    assert _download(monkeypatch, endpoint, []).key == "model.hub_silent"
    assert _download(monkeypatch, "http://[", []).key == "model.hub_silent"


def test_an_adapter_of_ours_passes(adapter: Path, base: Base) -> None:
    check_adapter(adapter, base)
    assert base_of(adapter) == base.id


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "model.adapter_kind"),
        ({"auto_mapping": {"parent_library": "evil"}}, "model.adapter_kind"),
        ({"megatron_config": {"a": 1}, "megatron_core": "evil"}, "model.adapter_kind"),
        ({"modules_to_save": ["lm_head"]}, "model.adapter_kind"),
        ({"layer_replication": [[0, 2], [0, 2]]}, "model.adapter_kind"),
        ({"init_lora_weights": "pissa"}, "model.adapter_kind"),
        ({"bias": "all"}, "model.adapter_kind"),
        ({"something_new": "evil"}, "model.adapter_kind"),
    ],
)
def test_only_plain_lora_is_taken(adapter: Path, base: Base, changes: dict[str, Any], key: str) -> None:
    change_json(adapter / "adapter_config.json", **changes)
    with pytest.raises(ModelError) as caught:
        check_adapter(adapter, base)
    assert caught.value.key == key


def test_adapters_that_are_foreign_pickled_or_cut_are_refused(adapter: Path, base: Base, tmp_path: Path) -> None:
    def refused(folder: Path, base: Base) -> str:
        with pytest.raises(ModelError) as caught:
            check_adapter(folder, base)
        return caught.value.key

    assert refused(adapter, replace(base, id="Qwen/Qwen3-0.6B")) == "model.adapter_other_base"
    change_json(adapter / "anime_ai.json", base_fingerprint=base.fingerprint())
    check_adapter(adapter, base)
    change_json(adapter / "anime_ai.json", base_fingerprint="0123456789abcdef")
    assert refused(adapter, base) == "model.adapter_base_changed"
    change_json(adapter / "anime_ai.json", base_fingerprint="")
    weights = adapter / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert refused(adapter, base) == "model.broken_file"
    weights.rename(adapter / "adapter_model.bin")
    assert refused(adapter, base) == "model.adapter_no_safetensors"
    assert refused(tmp_path / "nothing", base) == "model.not_an_adapter"


def test_a_run_folder_tells_where_a_local_base_lies_unless_it_is_another_run_by_now(
    adapter: Path, base: Base, settings: Settings
) -> None:
    config = adapter.parent / "config.json"
    config.write_text(json.dumps({"recipe": {"base": str(base.path)}}), encoding="utf-8")
    assert base_of(adapter) == str(base.path)
    assert find_base(base_of(adapter), settings) == base
    for other in ({"recipe": {"base": "Qwen/Qwen3-0.6B"}}, {"recipe": {"base": "auto"}}, {"recipe": []}, {}, []):
        config.write_text(json.dumps(other), encoding="utf-8")
        assert base_of(adapter) == base.id


GPU = Device("cuda", "new", 24 * 2**30, bf16=True, fp16=True)
OLD_GPU = Device("cuda", "old", 8 * 2**30, bf16=False, fp16=True)
CPU = Device("cpu", "CPU", 16 * 2**30, bf16=False, fp16=False)
FAST_CPU = Device("cpu", "CPU", 16 * 2**30, bf16=True, fp16=False)


@pytest.mark.parametrize(
    ("device", "parameters", "wanted", "sixteen", "expected"),
    [
        (GPU, 2 * 10**9, "auto", True, "bf16"),
        (GPU, 2 * 10**9, "fp16", True, "fp16"),
        (GPU, 2 * 10**9, "auto", False, "fp32"),
        (GPU, SMALL - 1, "auto", True, "fp32"),
        (OLD_GPU, 2 * 10**9, "auto", True, "fp16"),
        (OLD_GPU, 2 * 10**9, "bf16", True, "fp16"),
        (CPU, 2 * 10**9, "auto", True, "fp32"),
        (CPU, 2 * 10**9, "bf16", True, "fp32"),
        (CPU, 2 * 10**9, "fp16", True, "fp32"),
        (FAST_CPU, 2 * 10**9, "auto", True, "bf16"),
        (FAST_CPU, 2 * 10**9, "fp16", True, "bf16"),
        (FAST_CPU, 10**6, "bf16", True, "bf16"),
    ],
)
def test_precision_is_what_was_asked_for_or_the_next_that_the_device_can(
    device: Device, parameters: int, wanted: str, sixteen: bool, expected: str
) -> None:
    assert device.precision(parameters, wanted, sixteen) == expected


def test_the_device_of_this_machine_has_memory() -> None:
    device = pick_device()
    assert device.kind in ("cuda", "mps", "cpu")
    assert device.memory > 2**28


def test_waiting_for_the_hub_is_bounded_by_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    asked: list[dict[str, float]] = []

    def handle_request(self: Any, request: httpx.Request) -> httpx.Response:
        asked.append(request.extensions["timeout"])
        raise httpx.ReadTimeout("")

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle_request)
    with pytest.raises(ModelError) as caught:
        find_base("some/model", Settings.load(hub_timeout=3.5), download=True)
    assert caught.value.key == "model.hub_silent"
    assert asked == [{"connect": 3.5, "read": 3.5, "write": 3.5, "pool": 3.5}]
