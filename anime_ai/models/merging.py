"""A base with an adapter merged into it as safetensors in bf16, for whatever loads a plain model. Streams: no more than
a slice of a tensor is held. Knows no engine.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from anime_ai.files import replaced_folder, write_json
from anime_ai.models.bases import Base
from anime_ai.models.gguf_files import Tell
from anime_ai.models.weights import Weights

MOST_SHARD = 4 * 10**9
"""Bytes of one file, which every file system and every hub takes."""
BESIDE = (
    *("generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("vocab.json", "merges.txt", "tokenizer.model", "added_tokens.json", "chat_template.jinja", "LICENSE"),
)
"""Files of a base that its merge needs as well, where they are there."""


@dataclass(frozen=True)
class Merged:
    """A folder that holds a whole model; `bytes` of its weights."""

    folder: Path
    bytes: int
    tensors: int


def merge(
    base: Base, target: Path, adapter: Path | None = None, tell: Tell | None = None, most: int = MOST_SHARD
) -> Merged:
    """The base in bf16 as the folder `target`, with `adapter` merged into it where one is given; it takes the place of
    an older one when it is whole. `most`: bytes of a file.

    Raises ModelError for an adapter that does not fit, StorageError where it cannot be written.
    """
    base.need_weights()
    config = base.config()
    with Weights(base, adapter) as weights, replaced_folder(target) as folder:
        # A tied head that is stored all the same would stand beside embeddings that have moved on.
        names = [name for name in weights.shapes if name != "lm_head.weight" or not config.get("tie_word_embeddings")]
        shards = _shards(weights, names, most)
        files = [_shard_name(number, len(shards)) for number in range(1, len(shards) + 1)]
        done = 0
        for file, shard in zip(files, shards, strict=True):
            with open(folder / file, "wb") as opened:
                _begin(opened, weights, shard)
                for name in shard:
                    for rows in weights.slices(name):
                        opened.write(_bf16(rows))
                    done += 1
                    if tell is not None:
                        tell(done, len(names))
                opened.flush()
                os.fsync(opened.fileno())
        size = sum(_bytes(weights, name) for name in names)
        if len(shards) > 1:
            where = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
            write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": where})
        plain = {name: value for name, value in config.items() if name not in ("_name_or_path", "torch_dtype")}
        write_json(folder / "config.json", {**plain, "dtype": "bfloat16"})
        for name in BESIDE:
            if (base.path / name).is_file():
                shutil.copyfile(base.path / name, folder / name)
    return Merged(target, size, len(names))


def _bytes(weights: Weights, name: str) -> int:
    return 2 * math.prod(weights.shapes[name])


def _shards(weights: Weights, names: list[str], most: int) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    size = 0
    for name in names:
        if shards[-1] and size + _bytes(weights, name) > most:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += _bytes(weights, name)
    return shards


def _shard_name(number: int, count: int) -> str:
    return "model.safetensors" if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"


def _begin(file: BinaryIO, weights: Weights, names: list[str]) -> None:
    """The header, which says where every tensor will stand."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name in names:
        end = place + _bytes(weights, name)
        header[name] = {"dtype": "BF16", "shape": list(weights.shapes[name]), "data_offsets": [place, end]}
        place = end
    written = json.dumps(header, separators=(",", ":")).encode()
    written += b" " * (-len(written) % 8)
    file.write(len(written).to_bytes(8, "little") + written)


def _bf16(rows: object) -> bytes:
    """Float32 rounded to the nearest bfloat16, ties to even."""
    import torch

    return torch.from_numpy(rows).to(torch.bfloat16).contiguous().view(torch.int16).numpy().tobytes()
