"""Real but tiny models for tests: a random Qwen2 over a byte-level tokenizer, and random LoRA adapters on it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from anime_ai.files import write_json
from anime_ai.models.adapters import CARD
from anime_ai.models.bases import Base

# Handing out the work of models as small as these takes longer than the work.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def make_base(folder: Path, tokenizer: Any, hidden: int = 48, seed: int = 7) -> Base:
    """A random Qwen2 with large weights, so that its greedy text depends on every token of the prompt."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.3,
        tie_word_embeddings=True,
    )
    model = Qwen2ForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Base(folder.resolve().name, folder.resolve())


def make_adapter(
    folder: Path, base: Base, seed: int, persona: str = "傲娇", tokens: bool = False, spread: float = 0.3
) -> Path:
    """A random LoRA adapter, written as the trainer writes one; with the embeddings of some `tokens` or without.

    `spread`: deviation of its weights."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2ForCausalLM

    torch.manual_seed(seed)
    model = Qwen2ForCausalLM.from_pretrained(base.path)
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules="all-linear",
        trainable_token_indices=list(range(0, 256, 3)) if tokens else None,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, config)
    for name, weight in model.named_parameters():
        if "lora_B" in name or "trainable_tokens" in name:
            torch.nn.init.normal_(weight, std=spread)
    model.save_pretrained(folder)
    change_json(folder / "adapter_config.json", base_model_name_or_path=base.id)
    write_json(folder / CARD, {"base": base.id, "persona": persona, "prompt_format": "auto", "think": "silent"})
    return folder


def change_json(path: Path, **changes: Any) -> None:
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})


def make_clip(folder: Path, tokenizer: Any, *, captions: bool = True, own_token: bool = True, seed: int = 5) -> Any:
    """A random open_clip model of 32 pixels in its published form, a CoCa or a CLIP; the model that was written."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    text = {"context_length": 24, "vocab_size": len(tokenizer), "width": 32, "heads": 2, "layers": 2}
    tower = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2}
    config: dict[str, Any] = {"embed_dim": 32, "vision_cfg": tower, "text_cfg": text}
    if captions:
        tower |= {"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 6, "output_tokens": True}
        text |= {"embed_cls": own_token, "output_tokens": True}
        config["multimodal_cfg"] = {**text, "attn_pooler_heads": 2}
        config["custom_text"] = True
    kind = open_clip.CoCa if captions else open_clip.CLIP
    model = kind(**{name: value for name, value in config.items() if name != "custom_text"})
    for weight in model.parameters():
        if weight.ndim > 1:  # louder than fresh, so that what is said depends on the picture
            torch.nn.init.normal_(weight, std=0.2)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    prepared = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "interpolation": "bicubic", "resize_mode": "shortest"}
    write_json(folder / "open_clip_config.json", {"model_cfg": config, "preprocess_cfg": prepared})
    tokenizer.save_pretrained(folder)
    return model.eval()
