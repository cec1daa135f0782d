"""The training of the starter language model: what is folded, batched and learned, and what it is told beside it."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from anime_ai.config import STARTER_LM
from anime_ai.errors import TrainingError
from anime_ai.prompting import MASKED, POLICIES, Layout
from anime_ai.starter import base, corpus, pretrain, tokenizer
from anime_ai.starter.curriculum import COURSES
from anime_ai.starter.heads import POINTING_LAYER
from anime_ai.starter.pointing import FIRST, pointers
from anime_ai.starter.schedule import WholeMuon

TINY = pretrain.Shape(width=32, layers=1, heads=2, kv_heads=1, inner=64, positions=512)


@pytest.fixture(scope="module")
def shipped_tokenizer():
    return AutoTokenizer.from_pretrained(STARTER_LM)


@pytest.fixture(scope="module")
def some_talks() -> list[corpus.Talk]:
    return list(corpus.talks(400, seed=5))


@pytest.mark.parametrize("think", POLICIES)
def test_training_contract_on_the_corpus(shipped_tokenizer, some_talks: list[corpus.Talk], think: str):
    layout = Layout(shipped_tokenizer, "deepseek-r1", think)
    inner = "先想一想。" if think == "inner" else ""
    for talk in some_talks[:150]:
        for dialogue, answer in talk.dialogues():
            layout.check(dialogue, answer, inner, layout.training_row(dialogue, answer, inner))


def test_folding_trains_every_reply_of_a_conversation(shipped_tokenizer, some_talks: list[corpus.Talk]):
    layout = Layout(shipped_tokenizer, "deepseek-r1", "silent")
    for talk in some_talks[:100]:
        folded = pretrain.fold(layout, talk)
        rows = [layout.training_row(dialogue, answer) for dialogue, answer in talk.dialogues()]
        assert folded.ids == rows[-1].ids
        assert sum(label != MASKED for label in folded.labels) == sum(row.trained for row in rows)
        assert all(label in (MASKED, token) for label, token in zip(folded.labels, folded.ids, strict=True))


def test_batches_keep_the_budget_and_see_everything():
    lengths = [random.Random(place).randint(3, 40) for place in range(60)]
    sequences = [pretrain.Sequence((place,) * length, (place,) * length) for place, length in enumerate(lengths)]
    found = pretrain.batches(sequences, 100, random.Random(0))
    seen: list[int] = []
    while len(seen) < len(sequences):
        batch = next(found)
        assert max(len(one.ids) for one in batch) * len(batch) <= 100
        seen += [one.ids[0] for one in batch]
    assert sorted(seen) == list(range(60))


def test_only_what_need_not_be_copied_is_replaced():
    ids = torch.arange(40).repeat(40, 1)
    labels = torch.full_like(ids, MASKED)
    torch.manual_seed(0)
    found = pretrain._noisy(ids, labels, [place < 20 for place in range(40)], 0.4, plain=30)
    assert torch.equal(found[:20], ids[:20])
    assert not torch.equal(found[20:], ids[20:])
    assert torch.equal(found[:, 30:], ids[:, 30:])


def test_what_is_read_is_foreseen_but_padding_and_marks_are_not(
    shipped_tokenizer, some_talks: list[corpus.Talk], monkeypatch: pytest.MonkeyPatch
):
    layout = Layout(shipped_tokenizer, "deepseek-r1", "silent")
    sequences = [pretrain.fold(layout, talk) for talk in some_talks[:8]]
    plain = len(shipped_tokenizer) - len(tokenizer.MARKS)
    wanted: list[torch.Tensor] = []
    loss = pretrain._loss
    monkeypatch.setattr(pretrain, "_loss", lambda *given: wanted.append(given[2]) or loss(*given))
    model = pretrain.build(shipped_tokenizer, TINY, seed=3)
    schedule = pretrain.Schedule(steps=1, tokens=8_000, foreseen=1.0)
    list(pretrain.train(model, [(1.0, sequences)], schedule, plain))
    replies, read = wanted
    assert not ((replies != MASKED) & (read != MASKED)).any()
    assert read.max() < plain
    texts = sum(sum(token < plain for token in one.ids) for one in sequences)
    assert (read != MASKED).sum() + ((replies != MASKED) & (replies < plain)).sum() == texts


def test_each_lesson_has_its_share_of_the_steps():
    lessons = [(share, [pretrain.Sequence((mark,), (mark,))] * 5) for share, mark in ((0.2, 1), (0.3, 2), (0.5, 3))]
    planned = pretrain._planned(lessons, pretrain.Schedule(steps=10, tokens=1), random.Random(0))
    assert [batch[0].ids[0] for batch in planned] == [1, 1, 2, 2, 2, 3, 3, 3, 3, 3]


def test_two_steps_change_the_weights_and_repeat(shipped_tokenizer, some_talks: list[corpus.Talk]):
    layout = Layout(shipped_tokenizer, "deepseek-r1", "silent")
    sequences = [pretrain.fold(layout, talk) for talk in some_talks[:12]]
    schedule = pretrain.Schedule(steps=2, tokens=512, warmup=1)
    ends = []
    for _ in range(2):
        model = pretrain.build(shipped_tokenizer, TINY, seed=3)
        before = model.model.embed_tokens.weight.detach().clone()
        plain = len(shipped_tokenizer) - len(tokenizer.MARKS)
        told = list(pretrain.train(model, [(0.5, sequences[:6]), (0.5, sequences[6:])], schedule, plain))
        assert [one.step for one in told] == [1, 2]
        assert all(one.loss > 0 and one.trained for one in told)
        assert not torch.equal(before, model.model.embed_tokens.weight.float())
        ends.append(told[-1].loss)
    assert ends[0] == ends[1]


def test_a_fresh_model_can_copy_already(shipped_tokenizer, monkeypatch: pytest.MonkeyPatch):
    """Behind a repeated stretch of tokens, what came next the first time is the likeliest."""
    chance = random.Random(1)
    stretch = [chance.randrange(300, 4000) for _ in range(40)]
    ranks = []
    for _ in range(2):
        model = pretrain.build(shipped_tokenizer, pretrain.Shape(), seed=0)
        with torch.no_grad():
            # One head looks anywhere yet and says what it sees there: the others are to be judged.
            head = model.model.layers[POINTING_LAYER].self_attn
            head.o_proj.weight[:, : head.head_dim] = 0
            logits = model(torch.tensor([stretch * 2])).logits[0, 40:-1]
        wanted = torch.tensor(stretch[1:])
        ranks.append((logits > logits.gather(1, wanted[:, None])).sum(1).float().median().item())
        monkeypatch.setattr(pretrain, "write_copying", lambda model, seed: None)
    assert ranks[0] <= 3
    assert ranks[1] > 100


def test_pointers_stand_on_the_tokens_that_answer(shipped_tokenizer):
    layout = Layout(shipped_tokenizer, "deepseek-r1", "silent")
    kind = corpus.KINDS["several facts"]
    talks = [kind(corpus.source(), random.Random(seed)) for seed in range(40)]
    pointed = 0
    for talk in talks:
        folded = pretrain.fold(layout, talk)
        brought = next((place for place, turn in enumerate(talk.turns) if turn.brought), None)
        for at, places in folded.pointed:
            assert brought is not None
            assert folded.labels[at + 1] != MASKED, "only replies look"
            assert max(places) < at
            if places != FIRST:
                pointed += 1
                assert len({folded.ids[place] for place in places}) == 1
        told = [(folded.ids[places[0]], folded.ids[at + 1]) for at, places in folded.pointed if places != FIRST]
        assert sum(there == said for there, said in told) >= sum(bool(value) for value in talk.sought.values())
    assert pointed > 300


def test_what_cannot_be_found_is_pointed_at_nowhere():
    ids = (9, 1, 2, 3, 4, 8, 7, 7, 2, 3, 7, 8)  # a passage from 1 to 5, a reply from 6 on with the value (2, 3)
    found = list(pointers(ids, range(1, 5), 6, (2, 3)))
    assert found == [(5, (2,)), (6, (2,)), (7, (2,)), (8, (3,))]
    assert [(ids[at + 1], ids[places[0]]) for at, places in found[-2:]] == [(2, 2), (3, 3)]
    assert list(pointers(ids, range(1, 5), 6, (2, 4))) == []
    assert list(pointers(ids, range(1, 3), 6, (2, 3))) == [(5, (2,)), (6, (2,)), (7, (2,)), (8, (3,))]
    assert list(pointers(ids, range(1, 5), 6, ())) == [(at, FIRST) for at in range(5, 10)]
    assert list(pointers(ids[:8], range(1, 5), 6, ())) == [(5, FIRST), (6, FIRST)]


def test_a_head_learns_where_to_look(shipped_tokenizer):
    """Of a fresh model the first head looks at a token that nothing else tells of."""
    model = pretrain.build(shipped_tokenizer, TINY, seed=3)
    chance = random.Random(0)
    rows = [tuple(chance.randrange(300, 4000) for _ in range(24)) for _ in range(16)]
    labels = (MASKED,) * 23
    sequences = [pretrain.Sequence(ids, (*labels, ids[23]), pointed=((20, (7,)),)) for ids in rows]
    shares = []
    for pointing in (0.0, 1.0):
        model = pretrain.build(shipped_tokenizer, TINY, seed=3)
        schedule = pretrain.Schedule(steps=80, peak=1e-2, warmup=1, noise=0, pointing=pointing)
        list(pretrain.train(model, [(1.0, sequences)], schedule, plain=4000))
        assert not model.model.layers[0].self_attn._forward_hooks, "the model is as others are"
        model.set_attn_implementation("eager")
        with torch.no_grad():
            attention = model.model(torch.tensor(rows), output_attentions=True).attentions[0]
        shares.append(attention[:, 0, 20, 7].float().mean().item())
    assert shares[0] < 0.2
    assert shares[1] > 0.6


def test_what_somebody_speaks_of_is_told_where_the_reply_begins(shipped_tokenizer, some_talks: list[corpus.Talk]):
    layout = Layout(shipped_tokenizer, "deepseek-r1", "silent")
    named = 0
    for talk in some_talks:
        folded = pretrain.fold(layout, talk)
        wanted = [turn.about for turn in talk.turns if isinstance(turn, corpus.Asked)]
        assert [about for _, about in folded.about] == wanted
        named += len(wanted)
        for at, _ in folded.about:
            assert folded.labels[at] == MASKED
            assert folded.labels[at + 1] != MASKED
    assert named > 300
    asked = pretrain.fold(layout, corpus.KINDS["alone"](corpus.source(), random.Random(1)))
    assert set(asked.labels) == {MASKED}, "without an answer there is none to learn"
    assert asked.about[0][0] == len(asked.ids) - 1


def test_the_stream_learns_what_it_is_about(shipped_tokenizer):
    """Sentences of two names lie apart where a loss asks for it."""
    chance = random.Random(0)
    rows = [tuple(chance.randrange(300, 4000) for _ in range(12)) for _ in range(32)]
    names = ["雨" if row[3] % 2 else "雪" for row in rows]
    sequences = [
        pretrain.Sequence(ids, (MASKED,) * 12, about=((11, name),)) for ids, name in zip(rows, names, strict=True)
    ]
    apart = []
    for share in (0.0, 1.0):
        model = pretrain.build(shipped_tokenizer, TINY, seed=3)
        before = sum(weight.numel() for weight in model.parameters())
        schedule = pretrain.Schedule(steps=80, peak=1e-2, warmup=1, noise=0, topics=share)
        list(pretrain.train(model, [(1.0, sequences)], schedule, plain=4000))
        assert sum(weight.numel() for weight in model.parameters()) == before, "what reads the stream is thrown away"
        assert not any(layer._forward_hooks for layer in model.model.layers)
        with torch.no_grad():
            states = model.float().model(torch.tensor(rows), output_hidden_states=True).hidden_states[1][:, 11]
        rain, snow = (states[[name == one for name in names]] for one in ("雨", "雪"))
        spread = (rain - rain.mean(0)).norm(dim=1).mean() + (snow - snow.mean(0)).norm(dim=1).mean()
        apart.append(((rain.mean(0) - snow.mean(0)).norm() / spread).item())
    assert apart[0] < 0.5
    assert apart[1] > 1


def test_muon_in_fp32_steps_as_that_in_bf16():
    chance = torch.Generator().manual_seed(0)
    shapes = [(32, 32), (16, 32), (80, 32), (32, 80)]
    starts = [torch.randn(shape, generator=chance) for shape in shapes]
    pairs = [(start.clone().requires_grad_(), start.clone().requires_grad_()) for start in starts]
    theirs = torch.optim.Muon([one for one, _ in pairs], lr=1e-2, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    ours = WholeMuon([other for _, other in pairs], 1e-2, 0.05)
    for _ in range(5):
        for one, other in pairs:
            one.grad = torch.randn(one.shape, generator=chance)
            other.grad = one.grad.clone()
        theirs.step()
        ours.step()
    for (one, other), start in zip(pairs, starts, strict=True):
        assert (one - other).norm() < 0.03 * (one - start).norm()
        assert not torch.equal(one, start)


def test_one_command_makes_the_base_and_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pretrain, "Shape", lambda: TINY)
    monkeypatch.setattr(base, "HELD", 5)
    options = base.Options(tmp_path / "lm", steps=4, talks=900)
    said: list[str] = []
    base.make(options, said.append)
    told = json.loads((options.out / base.MADE).read_text(encoding="utf-8"))
    assert told["steps"] == 4
    assert told["command"] == "python -m anime_ai.starter --seed 0 --steps 4 --talks 900"
    assert told["tokens"] > told["trained"] > 0
    assert len(AutoTokenizer.from_pretrained(options.out)) == told["vocabulary"]
    with pytest.raises(TrainingError):
        base.make(base.Options(tmp_path / "lm", steps=4, talks=20), said.append)
    assert (options.out / "model.safetensors").is_file(), "what stood there stays"


def test_the_courses_go_on_from_the_first_one_in_their_order_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pretrain, "Shape", lambda: TINY)
    whole_way = replace(COURSES["phrases"], talks=40, steps=3)
    monkeypatch.setitem(COURSES, "phrases", whole_way)
    monkeypatch.setitem(COURSES, "more", replace(whole_way, steps=2, share=0.5))
    monkeypatch.delitem(COURSES, "voices")
    monkeypatch.setattr(base, "HELD", 5)
    options = base.Options(tmp_path / "lm", steps=4, talks=900)
    said: list[str] = []
    with pytest.raises(TrainingError, match="lm"):
        base.go_on(options, said.append, "phrases")
    base.make(options, said.append)
    with pytest.raises(TrainingError, match="phrases"):
        base.go_on(options, said.append, "more")
    weights = [(options.out / "model.safetensors").read_bytes()]
    first = json.loads((options.out / base.MADE).read_text(encoding="utf-8"))
    for name in COURSES:
        base.go_on(options, said.append, name)
        weights.append((options.out / "model.safetensors").read_bytes())
    assert len(set(weights)) == 3
    whole = json.loads((options.out / base.MADE).read_text(encoding="utf-8"))
    assert [course["steps"] for course in whole["courses"].values()] == [3, 2]
    assert (first["steps"], whole["steps"]) == (4, 9)
    assert whole["tokens"] == first["tokens"] + sum(course["tokens"] for course in whole["courses"].values())
    assert whole["command"] == first["command"]
    assert len(AutoTokenizer.from_pretrained(options.out)) == first["vocabulary"]
    for name in COURSES:
        with pytest.raises(TrainingError):
            base.go_on(options, said.append, name)
