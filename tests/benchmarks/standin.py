"""A stand-in of DeepSeek-R1-Distill-Qwen-1.5B for benchmarks: the published shape, random weights, the real tokenizer.

1.777 B parameters in bf16 take 3.6 GB of disk. What it writes is noise; its speed and its memory are the model's.
"""

from __future__ import annotations

import shutil
from pathlib import Path

SHAPE = {
    **{"vocab_size": 151_936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28},
    **{"num_attention_heads": 12, "num_key_value_heads": 2, "max_position_embeddings": 131_072},
    **{"rms_norm_eps": 1e-6, "tie_word_embeddings": False, "bos_token_id": 151_646, "eos_token_id": 151_643},
}


def make(folder: Path, tokenizer: Path, layers: int = 28) -> Path:
    """The model in `folder`, unless it is there; with fewer `layers` for a quick try."""
    if (folder / "config.json").is_file():
        return folder
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        Qwen2ForCausalLM(Qwen2Config(**{**SHAPE, "num_hidden_layers": layers})).save_pretrained(folder)
    finally:
        torch.set_default_dtype(torch.float32)
    for file in tokenizer.iterdir():
        shutil.copy(file, folder)
    return folder
