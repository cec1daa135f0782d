"""The models that the page offers, as the Hub has them: open_clip's own configurations with random weights, fewer and
narrower layers where the architecture allows; what they are given is compared with what a test works out itself."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from test_clip import noise

from anime_ai.files import write_json
from anime_ai.vision import models
from anime_ai.vision.clip import CONFIG, WEIGHTS, Clip
from anime_ai.vision.looking import LASTING, Captions, Tags, Zeros, opened
from anime_ai.vision.observation import group_of
from anime_ai.vision.tagger import MODEL, TABLE
from anime_ai.vision.zero_shot import ONE, SEVERAL

OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Mean and deviation of CLIP's pictures, as its paper's code has them."""
HALVES = ((0.5,) * 3, (0.5,) * 3)
XLM = "laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k"
SIGLIP = "timm/ViT-B-32-SigLIP2-256"
COCA = "laion/mscoco_finetuned_CoCa-ViT-B-32-laion2B-s13B-b90k"
TAGGER = "SmilingWolf/wd-vit-tagger-v3"
PICTURES = [noise(1, (320, 240)), noise(2, (200, 400))]


def published(
    folder: Path, name: str, tokenizer: Any, prepared: dict[str, Any], narrow: Callable[[dict[str, Any]], None]
) -> Any:
    """Save a random model of open_clip's configuration `name`, as `push_to_hf_hub` does; the model."""
    from safetensors.torch import save_file

    config = open_clip.get_model_config(name)
    narrow(config)
    made = copy.deepcopy(config)
    kind = open_clip.CoCa if "multimodal_cfg" in made else open_clip.CustomTextCLIP
    made.pop("custom_text", None)
    if "hf_model_name" in made["text_cfg"]:
        made["text_cfg"]["hf_model_pretrained"] = False
    torch.manual_seed(11)
    model = kind(**made).eval()
    for weight in model.parameters():
        if 1 < weight.ndim < 4:  # louder than fresh, so that what comes out depends on what goes in
            torch.nn.init.normal_(weight, std=0.1)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.contiguous() for name, weight in model.state_dict().items()}, folder / WEIGHTS)
    write_json(folder / CONFIG, {"model_cfg": config, "preprocess_cfg": prepared})
    tokenizer.save_pretrained(folder)
    return model


def prepared(statistics: tuple[Any, Any], mode: str) -> dict[str, Any]:
    mean, std = statistics
    return {"mean": list(mean), "std": list(std), "interpolation": "bicubic", "resize_mode": mode}


def normed(picture: Image.Image, statistics: tuple[Any, Any]) -> NDArray[Any]:
    mean, std = statistics
    return np.asarray((np.asarray(picture, np.float32) / 255 - mean) / std).transpose(2, 0, 1)


def cut_out(picture: Image.Image, size: int) -> Image.Image:
    """The shorter side to `size`, then the middle of the longer one."""
    share = size / min(picture.size)
    small = picture.resize((int(picture.width * share), int(picture.height * share)), Image.Resampling.BICUBIC)
    left, top = round((small.width - size) / 2), round((small.height - size) / 2)
    return small.crop((left, top, left + size, top + size))


def alike(clip: Clip, model: Any, wanted: list[NDArray[Any]]) -> None:
    """What is given to the model is what was worked out, and its vectors are those of the model that was saved."""
    given = clip._prepared(PICTURES)
    assert np.allclose(given.numpy(), np.stack(wanted), atol=1e-5)
    with torch.inference_mode():
        vectors = model.encode_image(torch.tensor(np.stack(wanted), dtype=torch.float32), normalize=True).numpy()
    assert np.allclose(clip.embed(PICTURES), vectors, atol=1e-4)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


@pytest.fixture(scope="module")
def xlm(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Any) -> tuple[Zeros, Any]:
    """The Chinese-capable CLIP: a ViT-B/32 of two narrow layers, XLM-RoBERTa of one."""
    from transformers import XLMRobertaConfig

    tower, folder = tmp_path_factory.mktemp("tower"), tmp_path_factory.mktemp("xlm")
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    padding = tiny_tokenizer.pad_token_id
    XLMRobertaConfig(vocab_size=len(tiny_tokenizer), **small, pad_token_id=padding).save_pretrained(tower)
    tiny_tokenizer.save_pretrained(tower)

    def narrow(config: dict[str, Any]) -> None:
        config["vision_cfg"] |= {"layers": 2, "width": 128}
        config["text_cfg"]["hf_model_name"] = str(tower)

    model = published(folder, "xlm-roberta-base-ViT-B-32", tiny_tokenizer, prepared(OPENAI, "shortest"), narrow)
    looks = opened(models.known(XLM), folder)
    assert isinstance(looks, Zeros)
    return looks, model


def test_the_chinese_clip_looks_as_it_was_trained_to(xlm: tuple[Zeros, Any]) -> None:
    looks, model = xlm
    alike(looks.clip, model, [normed(cut_out(one, 224), OPENAI) for one in PICTURES])


def test_its_words_go_through_its_own_tower(xlm: tuple[Zeros, Any], tiny_tokenizer: Any) -> None:
    looks, model = xlm
    said = ["一张动漫插画，银发", "微笑"]
    padding = tiny_tokenizer.pad_token_id
    # open_clip's cleaning, with which it was trained, writes half-width punctuation.
    ids = [tiny_tokenizer(one.replace("，", ",")).input_ids for one in said]
    padded = torch.tensor([[*row, *[padding] * (77 - len(row))] for row in ids])
    assert looks.clip._tokenized(said).tolist() == padded.tolist()
    with torch.inference_mode():
        wanted = model.encode_text(padded, normalize=True).numpy()
    assert np.allclose(looks.clip.embed_texts(said), wanted, atol=1e-5)
    assert looks.embed_words("银发", ["grey_hair"]).shape == (512,)


def test_it_names_what_is_likest(xlm: tuple[Zeros, Any]) -> None:
    """The labels of a group share one probability, by the model's own temperature."""
    looks, model = xlm
    (seen,) = looks.look(PICTURES[:1])
    assert seen.models == (XLM,)
    (vector,) = looks.clip.embed(PICTURES[:1])
    scale = float(model.logit_scale.detach().exp())
    for group, names in ONE.items():
        scores = torch.tensor(looks._tags._vectors[group] @ vector * scale).softmax(-1)
        told = [tag for tag in seen.tags if tag.group == group]
        for tag in told:
            assert tag.name == names[int(scores.argmax())]
            assert tag.confidence == pytest.approx(float(scores.max()), abs=1e-4)


def test_siglip_looks_as_it_was_trained_to(tmp_path: Path, tiny_tokenizer: Any) -> None:
    """Its picture's tower has its real size. A picture is squeezed to a square, not cut."""

    def narrow(config: dict[str, Any]) -> None:
        config["text_cfg"] |= {"vocab_size": len(tiny_tokenizer), "width": 64, "heads": 2, "layers": 1}

    model = published(tmp_path, "ViT-B-32-SigLIP2-256", tiny_tokenizer, prepared(HALVES, "squash"), narrow)
    looks = opened(models.known(SIGLIP), tmp_path)
    assert isinstance(looks, Zeros)
    squeezed = [one.resize((256, 256), Image.Resampling.BICUBIC) for one in PICTURES]
    alike(looks.clip, model, [normed(one, HALVES) for one in squeezed])
    ids = looks.clip._tokenized(["Silver hair!", "银发"])
    assert ids.shape == (2, 64)
    written = tiny_tokenizer("silver hair").input_ids
    assert ids[0, : len(written)].tolist() == written, "lower case without punctuation, as it was trained"
    with torch.inference_mode():
        assert np.allclose(looks.clip.embed_texts(["银发"]), model.encode_text(ids[1:], normalize=True), atol=1e-5)
    (seen,) = looks.look(PICTURES[:1])
    assert {tag.group for tag in seen.tags} <= {*ONE, *SEVERAL}
    assert looks.clip.model.logit_bias.item() == -10
    (tmp_path / WEIGHTS).unlink()  # 400 MB


def clip_tokenizer() -> Any:
    """CLIP's vocabulary, which open_clip brings, in the form that the Hub has beside the weights."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer

    own = SimpleTokenizer()
    vocabulary = dict(own.encoder)
    for name, other in (("<start_of_text>", "<|startoftext|>"), ("<end_of_text>", "<|endoftext|>")):
        vocabulary[other] = vocabulary.pop(name)
    return CLIPTokenizer(vocab=vocabulary, merges=list(own.bpe_ranks))


@pytest.fixture(scope="module")
def coca(tmp_path_factory: pytest.TempPathFactory) -> tuple[Captions, Any]:
    """CoCa of two narrow layers in every tower, with its whole vocabulary."""

    def narrow(config: dict[str, Any]) -> None:
        config["vision_cfg"] |= {"layers": 2, "width": 128}
        for part in ("text_cfg", "multimodal_cfg"):
            config[part] |= {"layers": 2, "width": 64, "heads": 2}
        config["embed_dim"] = 64

    folder = tmp_path_factory.mktemp("coca")
    model = published(folder, "coca_ViT-B-32", clip_tokenizer(), prepared(OPENAI, "shortest"), narrow)
    looks = opened(models.known(COCA), folder)
    assert isinstance(looks, Captions)
    return looks, model


def test_coca_looks_as_it_was_trained_to(coca: tuple[Captions, Any]) -> None:
    looks, model = coca
    alike(looks.clip, model, [normed(cut_out(one, 224), OPENAI) for one in PICTURES])


@pytest.mark.parametrize("sampling", [{}, {"top_p": 0.9, "seed": 3, "temperature": 0.8}], ids=["greedy", "top-p"])
def test_coca_says_what_the_whole_model_would_say(sampling: dict[str, Any], coca: tuple[Captions, Any]) -> None:
    looks, model = coca
    clip = looks.clip
    begin, end = clip._ends
    assert (begin, end) == (49406, 49407)
    said = clip.caption(PICTURES, most=10, **sampling)
    for picture, caption in zip(PICTURES, said, strict=True):
        with torch.inference_mode():
            latent, parts = model._encode_image(clip._prepared([picture]))
            ids = torch.tensor([[begin, *caption.tokens]])
            told = model(None, ids, image_latent=latent, image_embs=parts, output_labels=False)["logits"][0]
        scores = told.log_softmax(-1)[: len(caption.tokens)]
        chosen = torch.tensor(caption.tokens)
        assert np.allclose(scores.exp()[range(len(chosen)), chosen].numpy(), caption.likely, atol=1e-4)
        if not sampling:
            assert scores.argmax(-1).tolist() == chosen.tolist()
            continue
        likely = (scores / sampling["temperature"]).softmax(-1)
        for row, token in zip(likely, chosen, strict=True):
            before = row[row > row[token]].sum()
            assert float(before) <= sampling["top_p"] + 1e-4, "out of the likeliest ones"
    assert said == clip.caption(PICTURES, most=10, **sampling)
    assert len({one.tokens for one in said}) == 2


def test_a_sentence_of_coca_is_told_behind_what_was_seen(
    coca: tuple[Captions, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its vocabulary parts words from their punctuation; what is shown does not."""
    looks, _ = coca
    ids = looks.clip.tokenizer("A girl with pink hair, smiling.").input_ids[1:-1]
    said = [[(ids, [0.5] * len(ids))]]
    monkeypatch.setattr("anime_ai.vision.captions.captions", lambda *given, **more: said[0])
    (seen,) = looks.look(PICTURES[:1])
    assert seen.caption == "a girl with pink hair, smiling."
    assert seen.sentence() == "英文描述：a girl with pink hair, smiling."


NAMES = (
    *(("general", 9), ("sensitive", 9), ("questionable", 9), ("explicit", 9), ("1girl", 0), ("pink_hair", 0)),
    *(("twintails", 0), ("smile", 0), ("serafuku", 0), ("cat_ears", 0), ("hatsune_miku", 4), ("nobody_else", 4)),
)


class Published(torch.nn.Module):
    """A tagger with what its file holds around the network: pixels as they are, probabilities."""

    def __init__(self) -> None:
        super().__init__()
        import timm

        torch.manual_seed(4)
        narrow = {"img_size": 448, "embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": len(NAMES)}
        self.net = timm.create_model("vit_base_patch16_224", global_pool="avg", class_token=False, **narrow)
        torch.nn.init.normal_(self.net.head.weight, std=0.5)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.net(pixels.permute(0, 3, 1, 2) / 127.5 - 1).sigmoid())


def test_the_tagger_gives_its_network_what_it_was_trained_on(tmp_path: Path) -> None:
    """A ViT of 448 pixels on onnxruntime against the same on torch."""
    network, written = Published().eval(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter needs no package more
        torch.onnx.export(
            network,
            (torch.zeros(1, 448, 448, 3),),
            written,
            dynamo=False,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}},
        )
    (tmp_path / MODEL).write_bytes(written.getvalue())
    lines = [f"{place},{name},{kind},{9 - place}" for place, (name, kind) in enumerate(NAMES)]
    (tmp_path / TABLE).write_text("\n".join(["tag_id,name,category,count", *lines]) + "\n", encoding="utf-8")
    looks = opened(models.known(TAGGER), tmp_path)
    assert isinstance(looks, Tags)
    picture = PICTURES[0]  # 320 by 240
    square = np.full((320, 320, 3), 255, np.uint8)
    square[40:280] = np.asarray(picture)
    pixels = np.asarray(Image.fromarray(square).resize((448, 448), Image.Resampling.BICUBIC), np.float32)
    with torch.inference_mode():
        (wanted,) = network(torch.tensor(pixels[None, :, :, ::-1].copy())).numpy()
    assert np.allclose(looks.tagger.scores(picture), wanted, atol=1e-4)
    (seen,) = looks.look([picture])
    over = {name for (name, kind), score in zip(NAMES, wanted, strict=True) if kind == 0 and score >= 0.35}
    assert over
    assert {tag.name for tag in seen.tags} == over
    assert seen.rating == NAMES[int(wanted[:4].argmax())][0]
    assert [one.id for one in seen.characters] == [
        name for (name, kind), score in zip(NAMES, wanted, strict=True) if kind == 4 and score >= 0.85
    ]
    lasting = [name for name, _ in NAMES if group_of(name) in LASTING]
    assert looks.identities(PICTURES).shape == (2, len(lasting))
