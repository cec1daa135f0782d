"""A base, a base with an adapter merged into it, or an adapter alone as a GGUF file, for llama.cpp and what builds on
it. Streams: no more than one tensor is held. Knows no engine.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anime_ai.errors import ModelError, StorageError
from anime_ai.models.bases import ARCHITECTURES, MADE_OF, Base
from anime_ai.models.gguf_heads import read_head
from anime_ai.models.weights import Weights

if TYPE_CHECKING:
    import numpy as np

KINDS = ("f16", "q8_0", "q5_1", "q4_0")
FINER = {"q4_0": "q5_1", "q5_1": "q8_0"}
"""Embeddings and head lose most by few bits: theirs is one step finer."""
Tell = Callable[[int, int], None]
"""Told after every tensor: how many are written, of how many."""
_FILE_TYPES = {"f16": 1, "q8_0": 7, "q5_1": 9, "q4_0": 2}
_BLOCK = 32


@dataclass(frozen=True)
class Converted:
    """`merged`: why an adapter was merged where it was asked for alone (a text key under "notice."), else ""."""

    file: Path
    bytes: int
    tensors: int
    merged: str = ""


def convert(
    base: Base, target: Path, kind: str = "q8_0", adapter: Path | None = None, tell: Tell | None = None
) -> Converted:
    """The base as `target`, with `adapter` merged into it where one is given; written beside, then renamed.

    Raises ModelError for an architecture or a kind that is not known, StorageError where it cannot be written.
    """
    if kind not in KINDS:
        raise ModelError("model.gguf_kind", kind=kind, known="、".join(KINDS))
    config = _config_of(base)
    with Weights(base, adapter) as weights:
        names = _names(config, weights)

        def tensors() -> Iterator[tuple[str, str, tuple[int, ...], Iterator[np.ndarray]]]:
            for name, given in names.items():
                shape = weights.shapes[name]
                yield given, _kind_of(given, shape, kind), shape, weights.slices(name)

        def head(writer: Any) -> None:
            # What is merged is not the base any more: no adapter of the base's goes on it.
            writer.add_name(f"{base.id} + {adapter.name}" if adapter else base.id)
            if adapter is None:
                writer.add_string(MADE_OF, base.fingerprint())
            _describe(writer, config)
            _vocabulary(writer, base, weights.shapes["model.embed_tokens.weight"][0])
            writer.add_file_type(_FILE_TYPES[kind])

        return _write(target, ARCHITECTURES[config["architectures"][0]], head, tensors, len(names), tell)


def convert_adapter(base: Base, adapter: Path, target: Path, kind: str = "q8_0", tell: Tell | None = None) -> Converted:
    """The adapter alone, to be put on a GGUF of its base. What LoRA's format cannot hold is merged into the base, which
    is then written whole as `kind`, and said; into a lone GGUF nothing can be merged: ModelError."""
    why = merge_reason(base, adapter)
    if why:
        if base.lone:
            raise ModelError("model.gguf_cannot_merge", name=base.id)
        done = convert(base, target, kind, adapter, tell)
        return Converted(done.file, done.bytes, done.tensors, why)
    with Weights(base, adapter) as weights:
        pairs = list(weights.lora())
        names = _names_on(base, pairs) if base.lone else _names(_config_of(base), weights)

        def tensors() -> Iterator[tuple[str, str, tuple[int, ...], Iterator[np.ndarray]]]:
            for name, down, up in pairs:
                for side, value in (("a", down), ("b", up)):
                    yield f"{names[name]}.lora_{side}", "f32", value.shape, iter([value])

        def head(writer: Any) -> None:
            rank = pairs[0][1].shape[0]
            writer.add_type("adapter")
            writer.add_string("adapter.type", "lora")
            # llama.cpp divides by the rank.
            writer.add_float32("adapter.lora.alpha", weights.scale(rank) * rank)

        return _write(target, _architecture(base), head, tensors, 2 * len(pairs), tell)


def merge_reason(base: Base, adapter: Path) -> str:
    """Why LoRA's format cannot hold an adapter (a text key under "notice."), "" where it can."""
    with Weights(base, adapter) as weights:
        if weights.changes_tokens:
            return "model.merged_tokens"
        return "model.merged_dora" if weights.changes_magnitudes else ""


def _config_of(base: Base) -> dict[str, Any]:
    base.need_weights()
    config = base.config()
    named = (config.get("architectures") or ["?"])[0]
    if named not in ARCHITECTURES:
        raise ModelError("model.gguf_architecture", name=base.id, architecture=named)
    return config


def _architecture(base: Base) -> str:
    """What llama.cpp calls it."""
    return read_head(base.path).architecture if base.lone else ARCHITECTURES[_config_of(base)["architectures"][0]]


def _names(config: dict[str, Any], weights: Weights) -> dict[str, str]:
    """What GGUF calls each tensor of the base. A tied head is not written: llama.cpp takes the embeddings."""
    known = _known_names(ARCHITECTURES[config["architectures"][0]], int(config["num_hidden_layers"]))
    found = {}
    for name in weights.shapes:
        if name == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue
        found[name] = known(name)
    return found


def _names_on(base: Base, pairs: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> dict[str, str]:
    """What a lone GGUF calls the tensors that an adapter changes. Raises ModelError where one is not there, or is of
    another shape."""
    head = read_head(base.path)
    known = _known_names(head.architecture, head.number("block_count"))
    found = {}
    for name, down, up in pairs:
        found[name] = known(name)
        if head.shapes.get(found[name]) != (up.shape[0], down.shape[1]):
            raise ModelError("model.gguf_other_shape", name=base.id, tensor=name)
    return found


def _known_names(architecture: str, layers: int) -> Callable[[str], str]:
    import gguf

    arch = {"qwen2": gguf.MODEL_ARCH.QWEN2, "qwen3": gguf.MODEL_ARCH.QWEN3}[architecture]
    known = gguf.get_tensor_name_map(arch, layers)

    def named(name: str) -> str:
        given = known.get_name(name, try_suffixes=(".weight", ".bias"))
        if given is None:
            raise ModelError("model.gguf_tensor", tensor=name)
        return given

    return named


def _kind_of(given: str, shape: tuple[int, ...], kind: str) -> str:
    if len(shape) == 1:
        return "f32"
    if kind != "f16" and shape[1] % _BLOCK:
        return "f16"
    return FINER.get(kind, kind) if given in ("token_embd.weight", "output.weight") else kind


def _describe(writer: Any, config: dict[str, Any]) -> None:
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    rope = config.get("rope_parameters") or {}
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(hidden)
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads", heads)))
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    if config.get("head_dim"):
        writer.add_key_length(int(config["head_dim"]))
        writer.add_value_length(int(config["head_dim"]))


def _vocabulary(writer: Any, base: Base, size: int) -> None:
    """Tokens, merges and marks as they are in `tokenizer.json`; what the embeddings have beyond them is unused."""
    from gguf import TokenType

    from anime_ai.models.transformers_engine import load_tokenizer

    tokenizer = load_tokenizer(base)
    told = json.loads(tokenizer.backend_tokenizer.to_str())
    tokens = [f"[PAD{place}]" for place in range(size)]
    types = [TokenType.UNUSED] * size
    for token, place in told["model"]["vocab"].items():
        tokens[place], types[place] = token, TokenType.NORMAL
    # A mark that has no embedding, such as one that the tokenizer's class adds by itself, cannot be said or read.
    for one in (one for one in told["added_tokens"] if one["id"] < size):
        tokens[one["id"]] = one["content"]
        types[one["id"]] = TokenType.CONTROL if one["special"] else TokenType.USER_DEFINED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in told["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("deepseek-r1-qwen" if "<｜begin▁of▁sentence｜>" in tokens else "qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    for add, token_id in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if token_id is not None:
            add(int(token_id))
    # Prompts come as token ids, with their begin mark.
    writer.add_add_bos_token(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _write(
    target: Path,
    architecture: str,
    head: Callable[[Any], None],
    tensors: Callable[[], Iterator[tuple[str, str, tuple[int, ...], Iterator[np.ndarray]]]],
    count: int,
    tell: Tell | None,
) -> Converted:
    """Everything into a file beside the target, which it then replaces."""
    import gguf

    aside = target.with_name(f".{target.name}.partial")
    writer = gguf.GGUFWriter(aside, architecture)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        head(writer)
        for name, kind, shape, _ in tensors():
            _announce(writer, name, kind, shape)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for number, (_, kind, _, slices) in enumerate(tensors(), 1):
            writer.write_tensor_data(_packed(slices, kind))
            if tell is not None:
                tell(number, count)
        writer.close()
        os.replace(aside, target)
    except OSError as error:
        raise StorageError("storage.write", path=target, why=error.strerror or error) from error
    finally:
        writer.close()
        aside.unlink(missing_ok=True)
    return Converted(target, target.stat().st_size, count)


def _announce(writer: Any, name: str, kind: str, shape: tuple[int, ...]) -> None:
    import gguf
    import numpy as np

    raw = gguf.GGMLQuantizationType[kind.upper()]
    block, size = gguf.GGML_QUANT_SIZES[raw]
    width = shape[-1] // block * size
    if kind in ("f16", "f32"):
        dtype: Any = np.float16 if kind == "f16" else np.float32
        writer.add_tensor_info(name, shape, np.dtype(dtype), int(np.prod(shape)) * (2 if kind == "f16" else 4))
    else:
        packed = (*shape[:-1], width)
        writer.add_tensor_info(name, packed, np.dtype(np.uint8), int(np.prod(packed)), raw)


def _packed(slices: Iterator[np.ndarray], kind: str) -> np.ndarray:
    import gguf
    import numpy as np

    raw = gguf.GGMLQuantizationType[kind.upper()]
    parts = [gguf.quants.quantize(np.ascontiguousarray(part), raw) for part in slices]
    return np.concatenate(parts) if len(parts) > 1 else np.ascontiguousarray(parts[0])
