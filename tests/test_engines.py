"""Which engine a setting opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_base

from anime_ai.config import Settings
from anime_ai.errors import SettingsError
from anime_ai.models.bases import STARTER, find_base
from anime_ai.models.device import Device
from anime_ai.models.engines import ALL_LAYERS, engine_name, gguf_type, open_engine
from anime_ai.models.ggufs import Ggufs
from anime_ai.models.llamacpp_engine import LlamaCppEngine
from anime_ai.models.transformers_engine import TransformersEngine, look_up_pays


def test_the_named_engine_is_opened_and_loads_nothing(settings: Settings) -> None:
    named, base = settings.model_copy(update={"engine": "transformers"}), find_base(STARTER, settings)
    engine = open_engine(named, base)
    assert engine_name(named, base) == "transformers"
    assert isinstance(engine, TransformersEngine)
    assert engine.base == base
    assert not engine.loaded


CPU, CUDA, MPS = (Device(kind, kind, 2**34, bf16=True, fp16=True) for kind in ("cpu", "cuda", "mps"))


def test_auto_takes_llama_cpp_where_its_file_is_there_and_no_gpu(
    settings: Settings, tmp_path: Path, tiny_tokenizer: Any
) -> None:
    base = make_base(tmp_path / "tiny-qwen", tiny_tokenizer, hidden=64)
    assert engine_name(settings, base, CPU) == "transformers"
    assert engine_name(settings, find_base(STARTER, settings), CPU) == "llamacpp"
    assert engine_name(settings, find_base(STARTER, settings), CUDA) == "transformers"
    Ggufs(settings.gguf_dir).make(base, "f16")
    engine = open_engine(settings, base, CPU)
    assert isinstance(engine, LlamaCppEngine)
    assert not engine.loaded
    assert isinstance(open_engine(settings, base, CUDA), TransformersEngine)


def test_on_apples_gpu_the_faster_of_both_answers(settings: Settings, tmp_path: Path, tiny_tokenizer: Any) -> None:
    """llama.cpp there, with all layers on it, where its file is; transformers on it until then."""
    base = make_base(tmp_path / "tiny-qwen", tiny_tokenizer, hidden=64)
    before = open_engine(settings, base, MPS)
    assert isinstance(before, TransformersEngine)
    assert before.device == MPS
    Ggufs(settings.gguf_dir).make(base, "f16")
    found = {device.kind: open_engine(settings, base, device) for device in (MPS, CPU)}
    layers = {kind: engine.bounds.gpu_layers for kind, engine in found.items() if isinstance(engine, LlamaCppEngine)}
    assert layers == {"mps": ALL_LAYERS, "cpu": 0}
    assert isinstance(found["mps"], LlamaCppEngine)
    assert found["mps"]._host._shape.gpu_layers == ALL_LAYERS
    named = settings.model_copy(update={"engine": "transformers"})
    assert isinstance(open_engine(named, base, MPS), TransformersEngine)


def test_the_type_is_the_one_that_is_named_else_by_size(settings: Settings) -> None:
    starter = find_base(STARTER, settings)
    assert gguf_type(settings, starter) == "f16"
    assert gguf_type(settings.model_copy(update={"gguf_type": "q8_0"}), starter) == "q8_0"


def test_an_engine_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match="ENGINE"):
        Settings.load(engine="warp")


def test_looking_up_is_for_weights_of_16_bits(settings: Settings) -> None:
    import torch

    engine = TransformersEngine(find_base(STARTER, settings))
    model = engine._ready()
    assert not look_up_pays(model)
    assert look_up_pays(model.to(torch.bfloat16))
