"""What several answers at once gain in llama.cpp on processors, by the type of the weights.

pytest -m benchmark -s tests/benchmarks/test_together.py

Random weights in twelve layers of the 1.5B and a head of the same share, one thread. What is compared is the time of
the processor, which holds on a busy machine: tokens of several at once over those of one in the same time. Measured
with xllamacpp 2026.10 on an EPYC with AVX512-BF16 while others worked beside it (best of two):

    blocks · head                  one token    2      3      4 at once
    q4_0 · q5_1 (what is made)     31.4 ms     1.03   1.06   1.28
    q4_0 · q8_0                    33.2        0.98   0.93   1.34
    q4_0 · q4_0                    28.2        1.05   1.08   1.29
    q4_0 · q4_0, not repacked      35.9        0.85   0.78   1.06
    q4_k · q6_k                    26.2        1.03   1.07   1.27
    q4_k · q6_k, not repacked      33.6        1.00   1.07   1.14
    iq4_nl · q8_0                  31.8        0.96   0.91   1.26
    iq4_nl · q8_0, not repacked    40.3        0.89   0.76   1.14
    q5_1 · q8_0                    49.0        0.93   0.93   1.05
    q6_k · q6_k                    35.6        0.85   0.98   1.03
    q8_0 · q8_0                    51.6        0.96   0.86   1.33
    f16 · f16                      63.3        1.02   1.26   1.25
    bf16 · bf16                    68.4        1.04   1.32   1.33

So this llama.cpp computes fewer than four rows one by one however they are stored, and four cost three times as much
as one: neither another type, nor rows that fill a batch up, nor guessed tokens let two share 1.3 times one's pace.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]
HIDDEN, INNER, NARROW, LAYERS, WORDS = 1536, 8960, 256, 12, 65_120
MATRICES = {
    **{"attn_q": (HIDDEN, HIDDEN), "attn_k": (NARROW, HIDDEN), "attn_v": (NARROW, HIDDEN)},
    **{"attn_output": (HIDDEN, HIDDEN), "ffn_gate": (INNER, HIDDEN), "ffn_up": (INNER, HIDDEN)},
    "ffn_down": (HIDDEN, INNER),
}
HALVES = {
    **{"q4_0": {0: 0.004}, "q8_0": {0: 3e-4}, "iq4_nl": {0: 3e-4}, "q5_1": {0: 0.002, 2: -0.03}},
    **{"q4_k": {0: 1e-4, 2: 8e-4}, "q6_k": {208: 2e-5}},
}
"""The scales of a block, by the place of their two bytes in it; all else may be anything."""
KINDS = tuple(os.environ.get("KINDS", "q4_0:q5_1 q4_k:q6_k q8_0:q8_0").split())
ASKED = """
import json, os, sys, threading, time
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.kv_unified = sys.argv[1], 2048, 4, True
params.n_batch = params.n_ubatch = 64
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.warmup, params.verbosity, params.cache_ram_mib, params.n_gpu_layers = False, 1, 0, 0
params.no_extra_bufts = sys.argv[2] == "plain"
server = xllamacpp.Server(params)
told = {"n_predict": 16, "temperature": 0, "samplers": ["top_k"], "top_k": 1, "stream": True, "ignore_eos": True}
def answer(slot):
    asked = {**told, "prompt": [5 + slot, 9, 11], "id_slot": slot, "cache_prompt": False}
    server.handle_completions(asked, lambda event: False)
def seconds(count):
    began = time.process_time()
    threads = [threading.Thread(target=answer, args=(slot,)) for slot in range(count)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return time.process_time() - began
seconds(1)
took = [[seconds(count) for count in (1, 2, 3, 4)] for _ in range(2)]
print(json.dumps([min(column) for column in zip(*took)]), flush=True)
os._exit(0)
"""


def stored(chance: np.random.Generator, kind: str, rows: int, columns: int) -> tuple[np.ndarray, Any]:
    """Random weights as they are stored: what their bytes say does not matter, as long as they are small numbers."""
    import gguf

    raw = gguf.GGMLQuantizationType[kind.upper()]
    block, size = gguf.GGML_QUANT_SIZES[raw]
    if block == 1:  # numbers of 16 bits
        drawn = chance.standard_normal((rows, columns), dtype=np.float32) * np.float32(0.02)
        halves = drawn.astype(np.float16) if kind == "f16" else (drawn.view(np.uint32) >> 16).astype(np.uint16)
        return halves.view(np.uint8).reshape(rows, -1), raw
    packed = chance.integers(0, 256, (rows * columns // block, size), dtype=np.uint8)
    for place, scale in HALVES[kind].items():
        packed[:, place : place + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
    return packed.reshape(rows, -1), raw


def made(target: Path, blocks: str, head: str) -> Path:
    import gguf

    chance, writer = np.random.default_rng(0), gguf.GGUFWriter(target, "qwen2")
    writer.add_context_length(8192)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(12)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([f"t{place}" for place in range(WORDS)])
    writer.add_token_types([1] * WORDS)
    writer.add_token_merges(["t 0"])
    matrices = {"token_embd": (WORDS, HIDDEN, "q5_1"), "output": (WORDS, HIDDEN, head)}
    vectors = {"output_norm.weight": (HIDDEN, 1.0)}
    for layer in range(LAYERS):
        matrices |= {f"blk.{layer}.{name}": (*shape, blocks) for name, shape in MATRICES.items()}
        vectors |= {f"blk.{layer}.{name}_norm.weight": (HIDDEN, 1.0) for name in ("attn", "ffn")}
        vectors |= {f"blk.{layer}.attn_{name}.bias": (MATRICES[f"attn_{name}"][0], 0.0) for name in "qkv"}
    for name, (rows, columns, kind) in matrices.items():
        data, raw = stored(chance, kind, rows, columns)
        writer.add_tensor(f"{name}.weight", data, raw_dtype=raw)
    for name, (length, value) in vectors.items():
        writer.add_tensor(name, np.full(length, value, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@pytest.mark.parametrize("kind", KINDS)
def test_answers_at_once(tmp_path: Path, kind: str) -> None:
    blocks, _, head = kind.partition(":")
    file = made(tmp_path / "m.gguf", blocks, head)
    for layout in ("repacked", "plain"):
        command = [sys.executable, "-c", ASKED, str(file), layout]
        seconds = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        gains = ", ".join(f"{count}: {count * seconds[0] / seconds[count - 1]:.2f}" for count in (2, 3, 4))
        print(f"\n{kind} {layout}: {seconds[0] / 16 * 1000:.1f} ms a token; at once {gains}")
        assert all(value > 0 for value in seconds)
