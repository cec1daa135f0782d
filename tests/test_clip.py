"""open_clip models of a folder: loading, preparing, vectors, and the decoder of captions against the whole model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import change_json, make_clip

from anime_ai.errors import VisionError
from anime_ai.files import write_json
from anime_ai.vision.captions import captions
from anime_ai.vision.clip import CONFIG, WEIGHTS, Clip


def noise(seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


PICTURES = [noise(seed) for seed in range(3)]


@pytest.fixture(scope="module", params=[True, False], ids=["with a class token", "without"])
def coca(request: Any, tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Any) -> tuple[Clip, Any]:
    folder = tmp_path_factory.mktemp("coca")
    model = make_clip(folder, tiny_tokenizer, own_token=request.param)
    return Clip(folder, "tiny"), model


def test_a_picture_is_prepared_as_the_config_says(coca: tuple[Clip, Any]) -> None:
    """The shorter side to 32 pixels, the middle cut out, the mean taken off, by the deviation."""
    picture = noise(4, (80, 40))
    small = picture.resize((64, 32), Image.Resampling.BICUBIC).crop((16, 0, 48, 32))
    wanted = (np.asarray(small, np.float32) / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
    found = coca[0]._prepared([picture])[0].permute(1, 2, 0).numpy()
    assert np.allclose(found, wanted, atol=1e-5)


def test_vectors_are_the_models(coca: tuple[Clip, Any]) -> None:
    clip, model = coca
    found = clip.embed(PICTURES)
    with torch.inference_mode():
        wanted = model.encode_image(clip._prepared(PICTURES), normalize=True).numpy()
    assert np.allclose(found, wanted, atol=1e-5)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert clip.embed([]).shape == (0, 32)
    words = clip.embed_texts(["粉色头发", "粉色头发。", "一" * 200])
    assert words.shape == (3, 32)
    assert not np.allclose(words[0], words[1])


def test_full_width_punctuation_reaches_the_model(coca: tuple[Clip, Any]) -> None:
    full, half = coca[0]._tokenized(["微笑，挥手！", "微笑,挥手!"])
    assert full.tolist() != half.tolist()
    assert full.shape == (24,)


def test_a_caption_is_what_the_whole_model_would_say(coca: tuple[Clip, Any]) -> None:
    """Kept keys and values change nothing: the likeliest token by the whole text, computed anew for each."""
    clip, model = coca
    begin, end = clip._ends
    with torch.inference_mode():
        latent, seen = model._encode_image(clip._prepared(PICTURES))
        found = captions(model, seen, begin, end, most=12)
        for place, (tokens, likely) in enumerate(found):
            # Without a class token open_clip takes whole contexts alone; what stands behind changes nothing before it.
            behind = [] if model.text.cls_emb is not None else [end] * (23 - len(tokens))
            ids = torch.tensor([[begin, *tokens, *behind]])
            told = model(None, ids, image_latent=latent[place][None], image_embs=seen[place][None], output_labels=False)
            scores = told["logits"][0].log_softmax(-1)
            assert scores[: len(tokens)].argmax(-1).tolist() == tokens
            wanted = scores[range(len(tokens)), tokens].exp().tolist()
            assert np.allclose(likely, wanted, atol=1e-4)
            if len(tokens) < 12:
                assert int(scores[len(tokens)].argmax()) == end
    assert len({tuple(tokens) for tokens, _ in found}) > 1, "what is said depends on the picture"


def test_captions_are_drawn_from_the_likely_ones_by_the_seed(coca: tuple[Clip, Any]) -> None:
    clip, _ = coca
    drawn = [[one.tokens for one in clip.caption(PICTURES, top_p=0.9, seed=seed)] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    almost = [one.tokens for one in clip.caption(PICTURES, top_p=1e-6)]
    assert almost == [one.tokens for one in clip.caption(PICTURES)]


def test_a_model_without_a_decoder_writes_nothing(tmp_path: Path, tiny_tokenizer: Any) -> None:
    make_clip(tmp_path, tiny_tokenizer, captions=False)
    clip = Clip(tmp_path, "plain")
    assert not clip.writes
    with pytest.raises(VisionError, match="plain"):
        clip.caption(PICTURES)
    assert clip.embed(PICTURES).shape == (3, 32)


@pytest.mark.parametrize("fault", ["no config", "no weights", "pickles", "cut short", "other shapes", "no tokenizer"])
def test_what_is_wrong_with_a_folder_is_said(fault: str, tmp_path: Path, tiny_tokenizer: Any) -> None:
    model = make_clip(tmp_path, tiny_tokenizer)
    weights = tmp_path / "open_clip_model.safetensors"
    if fault == "no config":
        (tmp_path / CONFIG).unlink()
    elif fault in ("no weights", "pickles"):
        weights.unlink()
        if fault == "pickles":
            torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    elif fault == "cut short":
        weights.write_bytes(weights.read_bytes()[:2_000])
    elif fault == "other shapes":
        change_json(tmp_path / CONFIG, model_cfg={**Clip(tmp_path, "tiny").config["model_cfg"], "embed_dim": 48})
    else:
        for file in tmp_path.glob("*token*"):
            file.unlink()
    with pytest.raises(VisionError, match="tiny"):
        Clip(tmp_path, "tiny").caption(PICTURES)


def test_towers_of_other_libraries_are_loaded_offline(
    tmp_path: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text tower of transformers that the Chinese-capable CLIP has, and a picture's tower of timm."""
    import open_clip
    from safetensors.torch import save_file
    from transformers import XLMRobertaConfig

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tower, folder = tmp_path / "tower", tmp_path / "clip"
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    XLMRobertaConfig(vocab_size=len(tiny_tokenizer), **small, pad_token_id=0).save_pretrained(tower)
    text = {"hf_model_name": str(tower), "hf_tokenizer_name": str(tower), "hf_pooler_type": "mean_pooler"}
    text |= {"hf_proj_type": "mlp", "context_length": 16}
    picture = {"timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "map", "timm_proj": "none"}
    picture |= {"image_size": 160}
    config = {"embed_dim": 64, "vision_cfg": picture, "text_cfg": text, "custom_text": True}
    torch.manual_seed(3)
    model = open_clip.CustomTextCLIP(
        64, {**picture}, {**text, "hf_model_pretrained": False}, init_logit_scale=2.0, init_logit_bias=-10.0
    ).eval()
    folder.mkdir()
    save_file({name: weight.contiguous() for name, weight in model.state_dict().items()}, folder / WEIGHTS)
    tiny_tokenizer.save_pretrained(tower)
    tiny_tokenizer.save_pretrained(folder)
    whole = {**config, "init_logit_bias": -10.0}
    write_json(folder / CONFIG, {"model_cfg": whole, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}})
    clip = Clip(folder, "towers")
    found = clip.embed(PICTURES)
    with torch.inference_mode():
        wanted = model.encode_image(clip._prepared(PICTURES), normalize=True).numpy()
    assert np.allclose(found, wanted, atol=1e-5)
    assert clip.embed_texts(["粉色头发", "微笑"]).shape == (2, 64)
