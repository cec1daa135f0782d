"""GGUF files: every tensor, token and number of the base is in them, merged adapters are what PEFT merges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import change_json, make_adapter

from anime_ai.errors import ModelError, StorageError
from anime_ai.models import gguf_files
from anime_ai.models.bases import STARTER, Base, find_base
from anime_ai.models.gguf_files import KINDS, convert, convert_adapter
from anime_ai.models.weights import Weights


@pytest.fixture
def adapter(tmp_path: Path, base: Base) -> Path:
    return make_adapter(tmp_path / "adapter", base, seed=3)


def read(file: Path) -> Any:
    import gguf

    return gguf.GGUFReader(file)


def tensors(file: Path) -> dict[str, np.ndarray]:
    import gguf

    return {one.name: gguf.quants.dequantize(one.data, one.tensor_type) for one in read(file).tensors}


def field(reader: Any, name: str) -> Any:
    return reader.fields[name].contents()


def merged(base: Base, adapter: Path) -> dict[str, np.ndarray]:
    """The weights as PEFT merges them."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base.path), str(adapter))
    return {name: value.float().numpy() for name, value in model.merge_and_unload().state_dict().items()}


def whole(weights: Weights, name: str) -> np.ndarray:
    return np.concatenate(list(weights.slices(name)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_is_there_as_near_as_its_kind_allows(tmp_path: Path, base: Base, kind: str) -> None:
    told: list[tuple[int, int]] = []
    done = convert(base, tmp_path / "out" / "m.gguf", kind, tell=lambda number, count: told.append((number, count)))
    found = tensors(done.file)
    assert done.tensors == len(found) == len(told) == told[-1][0] == told[-1][1]
    assert done.bytes == done.file.stat().st_size
    assert sorted(path.name for path in done.file.parent.iterdir()) == ["m.gguf"]
    with Weights(base) as weights:
        names = gguf_files._names(gguf_files._config_of(base), weights)
        for name, given in names.items():
            exact = whole(weights, name)
            scale = np.abs(exact).max()
            near = {"f16": 1e-3, "q8_0": 0.01, "q5_1": 0.06, "q4_0": 0.15}[kind if exact.ndim > 1 else "f16"]
            assert np.abs(found[given].reshape(exact.shape) - exact).max() <= near * scale, name
    kinds = {one.name: one.tensor_type.name.lower() for one in read(done.file).tensors}
    assert kinds["token_embd.weight"] == {"q4_0": "q5_1", "q5_1": "q8_0"}.get(kind, kind)
    assert kinds["blk.0.attn_q.weight"] == kind
    assert kinds["output_norm.weight"] == "f32"
    assert "output.weight" not in kinds, "a tied head is the embeddings"


def test_the_starters_numbers_tokens_and_marks_are_carried(tmp_path: Path, settings: Any) -> None:
    from anime_ai.models.transformers_engine import load_tokenizer

    starter = find_base(STARTER, settings)
    reader, tokenizer = read(convert(starter, tmp_path / "s.gguf", "f16").file), load_tokenizer(starter)
    assert field(reader, "general.architecture") == "qwen2"
    assert field(reader, "qwen2.block_count") == 6
    assert field(reader, "qwen2.attention.head_count_kv") == 2
    assert field(reader, "qwen2.rope.freq_base") == 1e6
    tokens, types = field(reader, "tokenizer.ggml.tokens"), field(reader, "tokenizer.ggml.token_type")
    assert tokens == tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    assert len(field(reader, "tokenizer.ggml.merges")) > 0
    for mark in ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"):
        assert types[tokens.index(mark)] == 3, "a control token"
    assert tokens[field(reader, "tokenizer.ggml.eos_token_id")] == tokenizer.eos_token
    assert field(reader, "tokenizer.ggml.add_bos_token") is False
    assert field(reader, "tokenizer.chat_template") == tokenizer.chat_template


@pytest.mark.parametrize("values", [{}, {"use_rslora": True}], ids=["lora", "rslora"])
def test_a_merged_adapter_is_what_peft_merges(base: Base, adapter: Path, values: dict[str, Any]) -> None:
    change_json(adapter / "adapter_config.json", **values)
    expected = merged(base, adapter)
    with Weights(base, adapter) as weights:
        for name in weights.shapes:
            assert np.allclose(whole(weights, name), expected[name], atol=1e-5), name


@pytest.mark.parametrize("dora", [False, True])
def test_an_adapter_that_no_lora_file_can_hold_is_merged_and_said(tmp_path: Path, base: Base, dora: bool) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from anime_ai.files import write_json

    folder = tmp_path / "special"
    if dora:
        torch.manual_seed(1)
        config = LoraConfig(r=4, target_modules="all-linear", use_dora=True, task_type="CAUSAL_LM")
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base.path), config)
        for name, weight in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weight, mean=float("magnitude" in name), std=0.2)
        model.save_pretrained(folder)
        change_json(folder / "adapter_config.json", base_model_name_or_path=base.id)
        write_json(folder / "anime_ai.json", {"base": base.id})
    else:
        make_adapter(folder, base, seed=4, tokens=True)
    expected = merged(base, folder)
    done = convert_adapter(base, folder, tmp_path / "m.gguf", "f16")
    assert done.merged == ("model.merged_dora" if dora else "model.merged_tokens")
    found = tensors(done.file)
    assert np.allclose(found["token_embd.weight"], expected["model.embed_tokens.weight"], atol=1e-2)
    query = expected["model.layers.1.self_attn.q_proj.weight"]
    assert np.allclose(found["blk.1.attn_q.weight"], query, atol=2e-3 * np.abs(query).max() + 1e-3)


def test_an_adapter_alone_is_small_and_says_its_scale(tmp_path: Path, base: Base, adapter: Path) -> None:
    done = convert_adapter(base, adapter, tmp_path / "a.gguf")
    assert done.merged == ""
    reader, found = read(done.file), tensors(done.file)
    assert field(reader, "general.type") == "adapter"
    assert field(reader, "adapter.type") == "lora"
    with Weights(base, adapter) as weights:
        pairs = {name: (down, up) for name, down, up in weights.lora()}
        assert len(found) == 2 * len(pairs)
        down, up = pairs["model.layers.0.mlp.up_proj.weight"]
        assert np.array_equal(found["blk.0.ffn_up.weight.lora_a"], down)
        assert np.array_equal(found["blk.0.ffn_up.weight.lora_b"], up)
        assert field(reader, "adapter.lora.alpha") == pytest.approx(weights.scale(4) * 4)


def test_what_cannot_be_converted_is_said_and_leaves_nothing(
    tmp_path: Path, base: Base, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError) as caught:
        convert(base, tmp_path / "m.gguf", "q3_k")
    assert caught.value.key == "model.gguf_kind"

    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "m.gguf").write_bytes(b"an older file")
    monkeypatch.setattr("gguf.GGUFWriter.write_tensor_data", full)
    with pytest.raises(StorageError):
        convert(base, tmp_path / "m.gguf")
    assert (tmp_path / "m.gguf").read_bytes() == b"an older file"
    assert not list(tmp_path.glob("*.partial"))
    config = base.path / "config.json"
    before = config.read_bytes()
    try:
        change_json(config, architectures=["LlamaForCausalLM"])
        with pytest.raises(ModelError) as caught:
            convert(base, tmp_path / "other.gguf")
        assert caught.value.key == "model.gguf_architecture"
    finally:
        config.write_bytes(before)
    change_json(adapter / "adapter_config.json", alpha_pattern={"q_proj": 3})
    with pytest.raises(ModelError):
        convert(base, tmp_path / "other.gguf", adapter=adapter)
    assert not (tmp_path / "other.gguf").exists()
