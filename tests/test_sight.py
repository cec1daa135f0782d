"""The small image model: its texts, its training, what it is measured by, and the folder that the app reads."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from anime_ai.starter import captioned, coca, drawings, sight
from anime_ai.starter.portraits import looks
from anime_ai.vision.clip import Clip
from anime_ai.vision.describing import listed, read
from anime_ai.vision.looking import LABELS_FILE
from anime_ai.vision.observation import Tag
from anime_ai.vision.tags import table

SMALL = coca.Shape(side=32, width=32, layers=1, embed=32, text_layers=1, decoder_layers=1)


@pytest.fixture(scope="module")
def tokenizer() -> object:
    return coca.build_tokenizer(seed=1)


def test_every_word_of_the_drawings_has_a_meaning() -> None:
    for names in captioned.LABELS.values():
        assert set(names) <= set(table())
    shown = {tag.name for seed in range(300) for tag in captioned.seen(looks.draw_look(random.Random(seed))).tags}
    assert shown == {name for names in captioned.LABELS.values() for name in names}


def test_closed_eyes_have_no_colour() -> None:
    look = replace(looks.draw_look(random.Random(1)), expression="closed_eyes")
    assert "eyes" not in captioned.seen(look).grouped()
    assert "eyes" in captioned.seen(replace(look, expression="smile")).grouped()


def test_a_text_fits_into_the_context(tokenizer) -> None:
    chance = random.Random(2)
    texts = [captioned.written(looks.draw_look(chance), chance) for _ in range(300)]
    assert max(len(tokenizer.encode(text)) for text in texts) + 2 <= coca.Shape().context
    assert sum(text.startswith("一个女孩，") for text in texts) > 150
    assert all(tokenizer.decode(tokenizer.encode(text)) == text for text in texts), "punctuation as it stands"


def test_tokens_stand_between_a_begin_and_an_end(tokenizer) -> None:
    rows = coca._tokens(["微笑", "一个女孩，粉色头发，微笑。"], tokenizer, 72)
    assert rows[:, 0].tolist() == [tokenizer.bos_token_id] * 2
    assert rows[1, -1] == tokenizer.eos_token_id
    assert coca._tokens(["微" * 200], tokenizer, 20).shape == (1, 20)


def test_writing_is_judged_to_its_first_end() -> None:
    labels = torch.tensor([[5, 6, 0, 0, 0], [7, 0, 0, 0, 0]])
    logits = torch.nn.functional.one_hot(labels, 9).float() * 20
    logits[0, 3:], logits[1, 2:] = 0, 0  # behind the end anything may be said
    told = {
        "labels": labels,
        "logits": logits,
        "logit_scale": torch.tensor(50.0),
        "image_features": torch.eye(2),
        "text_features": torch.eye(2),
    }
    writing, together = coca._losses(told, end=0)
    assert writing < 1e-3
    assert together < 1e-3
    logits[0, 2] = 0
    assert coca._losses(told, end=0)[0] > 0.1, "the end itself is judged"


def test_a_fresh_tower_looks_around_itself() -> None:
    """What a head asks and offers are alike, and what is read and written take each other back."""
    model = coca.build(SMALL, 300, seed=1)
    attention = model.visual.transformer.resblocks[0].attn
    width = attention.embed_dim
    asks, offers, reads = attention.in_proj_weight.detach().split(width)
    for product, near in ((asks.T @ offers, 1), (attention.out_proj.weight.detach() @ reads, -1)):
        own = product.diagonal()
        beside = product[~torch.eye(width, dtype=torch.bool)]
        assert own.mean() * near > 3 * beside.abs().mean()


def test_the_camera_comes_in_by_and_by() -> None:
    schedule = coca.Schedule(steps=100, clean=(0.3, 0.6))
    assert [round(schedule.taken(step), 6) for step in (0, 30, 45, 60, 99)] == [0, 0, 0.5, 1, 1]
    pixels = drawings.drawn(drawings.looks(1, seed=8))
    bare = Image.fromarray(pixels[0]).resize((32, 32), Image.Resampling.BICUBIC)
    for taken, same in ((0.0, True), (1.0, False)):
        (found,) = drawings.photographs(pixels, [0], 32, random.Random(4), taken)
        assert (found.tobytes() == bare.tobytes()) == same


def test_naming_is_judged_group_by_group() -> None:
    shown = drawings.looks(12, seed=9)
    naming = coca.Naming(8)
    with torch.no_grad():
        for head in naming.heads.values():
            head.weight.zero_()
    blind = naming(torch.zeros(12, 8), shown).item()
    look = replace(shown[0], expression="closed_eyes")
    with torch.no_grad():
        for group, names in naming.groups.items():
            tags = {tag.name for tag in captioned.seen(look).grouped().get(group, ())}
            naming.heads[group].bias.copy_(torch.tensor([30.0 if name in tags else -30.0 for name in names]))
        # Of closed eyes no colour is asked for: nothing can be wrong about it.
        naming.heads["eyes"].bias.zero_()
    assert blind > 1
    assert not torch.isnan(naming(torch.zeros(1, 8), [look]))
    assert naming(torch.zeros(2, 8), [look, replace(look, hair_colour="green_hair")]).item() > 1


@pytest.mark.slow
def test_it_is_trained_written_and_read_by_the_app(tokenizer, tmp_path: Path) -> None:
    shown = drawings.looks(6, seed=3)
    pixels = drawings.drawn(shown)
    assert pixels.shape == (6, drawings.SIDE, drawings.SIDE, 3)
    schedule = coca.Schedule(steps=3, batch=4, warmup=1)
    ends = []
    for _ in range(2):
        model = coca.build(SMALL, len(tokenizer), seed=4)
        told = list(coca.train(model, tokenizer, shown, pixels, schedule, SMALL))
        assert [one.step for one in told] == [1, 2, 3]
        ends.append(told[-1].writing)
    assert ends[0] == ends[1]
    coca.save(model, tokenizer, SMALL, tmp_path)
    clip = Clip(tmp_path, "starter")
    portrait = Image.fromarray(pixels[0]).resize((32, 32))
    (vector,) = clip.embed([portrait])
    with torch.inference_mode():
        kept = model.bfloat16().float().encode_image(clip._prepared([portrait]), normalize=True)[0]
    assert torch.allclose(torch.from_numpy(vector), kept, atol=2e-3)
    (caption,) = clip.caption([portrait])
    read(caption, clip.tokenizer, json.loads((tmp_path / LABELS_FILE).read_text(encoding="utf-8")))
    tall = clip._prepared([Image.new("RGB", (20, 60))])[0]
    assert tall[:, 16, 0].tolist() == pytest.approx([2.0] * 3), "white beside what is not square"


def test_figures_are_counted_by_what_the_look_shows() -> None:
    shown = drawings.looks(40, seed=5)
    right = [captioned.seen(look).tags for look in shown]
    shares, f1, whole = sight._counted(shown, right)
    assert set(shares.values()) == {1.0}
    assert (f1, whole) == (1.0, 1.0)
    bald = [tuple(tag for tag in tags if tag.group not in ("hair_colour", "accessories")) for tags in right]
    shares, f1, whole = sight._counted(shown, bald)
    assert shares["hair_colour"] == f1 == whole == 0.0
    assert shares["expression"] == 1.0
    worn = [(*tags, Tag("scarf", "accessories")) for tags in right]
    assert 0.3 < sight._counted(shown, worn)[1] < 1.0


def test_the_list_of_a_look_is_read_back_whole(tokenizer) -> None:
    from anime_ai.vision.clip import Caption

    for look in drawings.looks(60, seed=6):
        for language in ("zh", "en"):
            text = listed(captioned.seen(look).tags, language)
            ids = tokenizer.encode(text)
            found = read(Caption(text, tuple(ids), (0.9,) * len(ids)), tokenizer, captioned.LABELS)
            assert [(tag.name, tag.group) for tag in found] == [
                (tag.name, tag.group) for tag in captioned.seen(look).tags
            ]
