"""A GGUF file without the weights that it was made of: its tokenizer, its adapters, what it is refused for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_hub import only_hub
from tiny_models import change_json, make_adapter, make_base

from anime_ai.chat.service import SHIPPED
from anime_ai.config import Settings
from anime_ai.errors import ModelError
from anime_ai.models.adapters import CARD, check_adapter
from anime_ai.models.bases import DEFAULT, MADE_OF, STARTER, Base, check_gguf, find_base, on_disk
from anime_ai.models.downloads import Downloads
from anime_ai.models.engine import GREEDY, Adapter, Engine, Sampling
from anime_ai.models.engines import engine_name, gguf_type, open_engine
from anime_ai.models.gguf_files import convert
from anime_ai.models.gguf_heads import read_head
from anime_ai.models.gguf_tokenizer import read_tokenizer
from anime_ai.models.ggufs import Ggufs
from anime_ai.models.merging import merge
from anime_ai.models.shelf import Shelf
from anime_ai.models.transformers_engine import TransformersEngine, load_model, load_tokenizer
from anime_ai.prompting import POLICIES, Dialogue, Exchange, Layout
from anime_ai.studio import Studio

NAMED = "Qwen/Qwen2.5-1.5B-Instruct"
TEXTS = (
    *(
        "你喜欢什么动漫？",
        "哼，才不会随便告诉你呢！",
        "今天好累啊……想喝奶茶🧋",
        "東京タワーで会いましょう。",
        "龘靐齉爩",
    ),
    *("It's 3:45 p.m., isn't it?", "WE'LL see\r\n\r\n  two  spaces ", "price: 12345.67€ (−5%)", "naïve café ß İ ﬁ"),
    *(
        "👩‍👩‍👧‍👦🏳️‍🌈 ok",
        "a\tb\n\n\nc",
        "　全角空格　",
        "https://例子.中国/路?q=1&r=二",
        "def f(x): return x**2  # 平方",
    ),
    *("١٢٣ ४५६", "①②③ Ⅳ", "\u200bzero\u200dwidth", "ｶﾀｶﾅ と ひらがな", "<think>不是标记", "|<|>|｜User｜"),
)


def mixed(seed: int, count: int) -> list[str]:
    """Strings put together of pieces of many scripts, cut anywhere."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        parts = [chance.choice(TEXTS) for _ in range(chance.randint(1, 4))]
        made.append("".join(part[chance.randrange(len(part)) :] for part in parts))
    return made


def dialogues() -> Iterator[Dialogue]:
    chance = random.Random(5)
    for _ in range(24):
        said = [Exchange(*(mixed(chance.randrange(10**6), 2))) for _ in range(chance.randrange(4))]
        card, facts, greeting, question, brought = mixed(chance.randrange(10**6), 5)
        yield Dialogue(card, tuple(said[:1]), facts, greeting, tuple(said), f"{question} cafe\u0301", brought)


def same_tokens(theirs: Any, ours: Any, formats: tuple[str, ...]) -> None:
    """Raw strings, marks in them, and whole prompts come out alike, and go back alike."""
    marks = list(theirs.get_added_vocab())
    assert ours.get_added_vocab() == theirs.get_added_vocab()
    for text in [*TEXTS, *mixed(3, 300), *(f"前{mark}后 {mark}\n" for mark in marks)]:
        expected = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text, add_special_tokens=False) == expected, text
        assert ours.decode(expected) == theirs.decode(expected), text
    for format in formats:
        for think in POLICIES:
            one, other = (Layout(tokenizer, format, think) for tokenizer in (theirs, ours))
            assert one.fingerprint() == other.fingerprint()
            assert one.stop_ids == other.stop_ids
            for dialogue in dialogues():
                assert other.prompt(dialogue).ids == one.prompt(dialogue).ids


@pytest.fixture(scope="module")
def starter() -> Base:
    return find_base(STARTER, Settings())


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, starter: Base) -> Path:
    """The starter as somebody downloaded it."""
    return convert(starter, tmp_path_factory.mktemp("有 空格") / "Starter.F16.gguf", "f16").file


@pytest.fixture
def lone(file: Path, settings: Settings) -> Base:
    return find_base(str(file), settings)


def test_its_tokenizer_is_the_starters(starter: Base, lone: Base) -> None:
    theirs, ours = load_tokenizer(starter), load_tokenizer(lone)
    same_tokens(theirs, ours, ("deepseek-r1", "seed"))
    assert (ours.bos_token_id, ours.eos_token_id) == (theirs.bos_token_id, theirs.eos_token_id)
    assert ours.all_special_tokens == theirs.all_special_tokens
    assert ours.chat_template == theirs.chat_template


def test_its_tokenizer_is_the_real_one_of_deepseek(tmp_path: Path, test_data: Path, starter: Base) -> None:
    """Over a few weights, with the published tokenizer."""
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(test_data / "tokenizer")
    made = make_base(tmp_path / "few", theirs, hidden=8)
    for name in ("tokenizer.json", "tokenizer_config.json"):  # as they are published, not as they were saved
        (made.path / name).write_bytes((test_data / "tokenizer" / name).read_bytes())
    lone = find_base(str(convert(made, tmp_path / "few.gguf", "f16").file), Settings())
    same_tokens(load_tokenizer(made), load_tokenizer(lone), ("deepseek-r1", "seed"))


def written(target: Path, tokenizer: Any, **values: Any) -> Path:
    """A GGUF of one small tensor as llama.cpp's own converter describes it; `values` are written over."""
    import gguf
    import numpy as np

    told: dict[str, Any] = {
        "qwen2.block_count": 1,
        "qwen2.context_length": 512,
        "qwen2.embedding_length": 8,
        "general.name": "Qwen2.5 1.5B Instruct",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.bos_token_id": tokenizer.convert_tokens_to_ids("<｜end▁of▁sentence｜>"),
        "tokenizer.ggml.eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
        "tokenizer.ggml.add_bos_token": False,
        "general.architecture": "qwen2",
        **values,
    }
    writer = gguf.GGUFWriter(target, str(told.pop("general.architecture")))
    for key, value in told.items():
        kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        kind = kinds[type(value)]
        kind(key, value)
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    added = tokenizer.get_added_vocab()
    writer.add_token_list([*tokens, "ab", "[PAD0]"])
    writer.add_token_types([*(gguf.TokenType.CONTROL if one in added else 1 for one in tokens), 1, 5])
    writer.add_token_merges(["a b"])
    writer.add_tensor("token_embd.weight", np.zeros((len(tokens), 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def test_a_begin_token_counts_where_a_prompt_begins_with_it(tmp_path: Path, tiny_tokenizer: Any) -> None:
    plain = read_tokenizer(written(tmp_path / "plain.gguf", tiny_tokenizer))
    assert plain.bos_token is None
    assert plain.eos_token == "<|im_end|>"
    added = read_tokenizer(written(tmp_path / "a.gguf", tiny_tokenizer, **{"tokenizer.ggml.add_bos_token": True}))
    assert added.bos_token == "<｜end▁of▁sentence｜>"
    template = {"tokenizer.chat_template": "{{ bos_token }}{{ messages }}"}
    assert read_tokenizer(written(tmp_path / "t.gguf", tiny_tokenizer, **template)).bos_token is not None
    assert "[PAD0]" not in plain.get_vocab()
    assert Layout(plain, "chatml").prompt(Dialogue(question="你好")).ids[0] == plain.convert_tokens_to_ids(
        "<|im_start|>"
    )


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"general.architecture": "llama"}, "model.gguf_unknown"),
        ({"tokenizer.ggml.pre": "llama-bpe"}, "model.gguf_tokenizer"),
        ({"tokenizer.ggml.model": "llama"}, "model.gguf_tokenizer"),
        ({"general.type": "adapter"}, "model.gguf_part"),
        ({"split.count": 3}, "model.gguf_part"),
    ],
)
def test_a_file_that_cannot_be_chatted_with_is_one_line(
    tmp_path: Path, tiny_tokenizer: Any, settings: Settings, values: dict[str, Any], key: str
) -> None:
    file = written(tmp_path / "other.gguf", tiny_tokenizer, **values)
    with pytest.raises(ModelError) as caught:
        find_base(str(file), settings)
    assert caught.value.key == key
    assert "\n" not in str(caught.value)


def test_one_from_the_hub_is_chosen_and_found_by_its_id(
    tmp_path: Path, file: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = "some/Starter-GGUF/Starter.F16.gguf"
    with only_hub(monkeypatch, tmp_path / "cache") as hub:
        hub.models["some/Starter-GGUF"] = {"Starter.F16.gguf": file.read_bytes()}
        own = settings.model_copy(update={"hub_timeout": 5.0, "hub_mirror": hub.endpoint})
        shelf = Shelf(own)
        with pytest.raises(ModelError) as caught:
            find_base(id, own)
        assert caught.value.key == "model.not_on_disk"
        assert not on_disk(id)
        with closing(Downloads(own, finished=shelf.remember)) as downloads:
            downloads.start(id)
            list(downloads.watch(id, 0.01))
        assert shelf.choose_base(id) == id
        found = find_base(id, own)
        assert (found.id, found.lone, found.starter) == (id, True, True)
        assert on_disk(id)


def test_a_file_that_is_cut_or_garbled_is_refused(tmp_path: Path, file: Path) -> None:
    whole, broken = file.read_bytes(), tmp_path / "b.gguf"
    ends = [0, 3, 23, 24, 40, 1000, 50_000, len(whole) // 2, len(whole) - 1]
    for end in ends:
        broken.write_bytes(whole[:end])
        with pytest.raises(ModelError) as caught:
            check_gguf(broken)
        assert caught.value.key == "model.broken_file", end
    chance = random.Random(1)
    refused = 0
    for _ in range(60):
        head = bytearray(whole[:100_000])
        for _ in range(4):
            head[chance.randrange(400)] = chance.randrange(256)
        broken.write_bytes(bytes(head) + whole[len(head) :])
        try:
            check_gguf(broken)
        except ModelError:
            refused += 1
    assert refused > 30
    assert read_head(file).number("block_count") == 6


def test_it_tells_what_a_folder_tells(starter: Base, lone: Base) -> None:
    assert lone.lone
    assert not starter.lone
    told = starter.config()
    assert {name: told.get(name) for name in lone.config()} == lone.config() | {"head_dim": told.get("head_dim")}
    assert lone.parameters() == starter.parameters()
    assert lone.context() == starter.context()
    assert lone.made_of() == starter.fingerprint() != lone.fingerprint()
    assert lone.starter, "it is announced as what it is"


@pytest.mark.parametrize(
    ("values", "known"),
    [
        ({}, True),
        ({"general.name": "Qwen2.5 1.5B"}, False),
        ({"general.name": "qwen2.5-1.5b-instruct"}, True),
        ({"general.name": ""}, False),
        ({"general.name": "x", "general.source.url": f"https://huggingface.co/{NAMED}"}, True),
        ({"general.name": "x", "general.base_model.0.repo_url": f"https://huggingface.co/{NAMED}"}, False),
    ],
)
def test_it_is_known_by_its_own_name_and_sources(
    tmp_path: Path, tiny_tokenizer: Any, settings: Settings, values: dict[str, Any], known: bool
) -> None:
    found = find_base(str(written(tmp_path / "q.gguf", tiny_tokenizer, **values)), settings)
    assert found.known_as(NAMED) is known
    assert not found.known_as("")
    assert not found.known_as(DEFAULT)


@pytest.mark.parametrize("told", [0, 2**32 - 1, float("nan"), float("inf"), "many", True])
def test_numbers_that_are_none_are_not_believed(
    tmp_path: Path, tiny_tokenizer: Any, settings: Settings, told: Any
) -> None:
    names = ("context_length", "block_count", "embedding_length", "attention.head_count", "attention.key_length")
    file = written(tmp_path / "q.gguf", tiny_tokenizer, **{f"qwen2.{name}": told for name in names})
    found = find_base(str(file), settings)
    assert found.context() == 4096
    assert found.config()["num_attention_heads"] == 1
    assert found.config()["head_dim"] == found.config()["num_hidden_layers"] == 0


@pytest.fixture
def tiny(tmp_path: Path, tiny_tokenizer: Any) -> Base:
    return make_base(tmp_path / "tiny-qwen", tiny_tokenizer, hidden=64)


def test_adapters_of_another_base_are_refused_in_a_line(
    tmp_path: Path, tiny: Base, tiny_tokenizer: Any, settings: Settings
) -> None:
    adapter = make_adapter(tmp_path / "adapter", tiny, seed=3)
    lone = find_base(str(convert(tiny, tmp_path / "t.gguf", "f16").file), settings)
    check_adapter(adapter, lone)
    ggufs = Ggufs(tmp_path / "gguf")
    assert ggufs.fit(lone, Adapter(adapter), "own").file.is_file()
    change_json(adapter / CARD, base_fingerprint="of other weights")
    with pytest.raises(ModelError) as caught:
        check_adapter(adapter, lone)
    assert caught.value.key == "model.adapter_base_changed"
    change_json(adapter / CARD, base="another")
    with pytest.raises(ModelError) as caught:
        check_adapter(adapter, lone)
    assert caught.value.key == "model.adapter_other_base"
    merged = find_base(
        str(convert(tiny, tmp_path / "m.gguf", "f16", make_adapter(tmp_path / "b", tiny, 4)).file), settings
    )
    assert not merged.known_as(tiny.id), "the merge is not the base any more"
    assert MADE_OF not in read_head(merged.path).values


def test_what_has_to_be_merged_or_has_other_shapes_is_said(
    tmp_path: Path, tiny: Base, tiny_tokenizer: Any, settings: Settings
) -> None:
    lone = find_base(str(convert(tiny, tmp_path / "t.gguf", "f16").file), settings)
    ggufs = Ggufs(tmp_path / "gguf")
    tokens = make_adapter(tmp_path / "tokens", tiny, seed=2, tokens=True)
    with pytest.raises(ModelError) as caught:
        ggufs.fit(lone, Adapter(tokens), "own")
    assert caught.value.key == "model.gguf_cannot_merge"
    wide = make_base(tmp_path / "wide" / "tiny-qwen", tiny_tokenizer, hidden=96)
    with pytest.raises(ModelError) as caught:
        ggufs.fit(lone, Adapter(make_adapter(tmp_path / "wide-adapter", wide, seed=2)), "own")
    assert caught.value.key == "model.gguf_other_shape"
    assert not list(ggufs.folder.glob("*.gguf"))


def test_it_chats_and_that_is_all(lone: Base, settings: Settings, tmp_path: Path) -> None:
    import torch

    calls = [
        lambda: load_model(lone, torch.float32),
        lambda: convert(lone, tmp_path / "c.gguf"),
        lambda: merge(lone, tmp_path / "m"),
    ]
    for call in calls:
        with pytest.raises(ModelError) as caught:
            call()
        assert caught.value.key == "model.gguf_only_chats"
    assert list(tmp_path.iterdir()) == []
    assert engine_name(settings, lone) == "llamacpp"
    assert gguf_type(settings, lone) == "own"
    with pytest.raises(ModelError) as caught:
        open_engine(settings.model_copy(update={"engine": "transformers"}), lone)
    assert caught.value.key == "model.gguf_needs_llama"


def test_no_training_begins_on_it(file: Path, settings: Settings) -> None:
    from anime_ai.dataset.rows import Row
    from anime_ai.training import runs
    from anime_ai.training.queue import RunQueue
    from anime_ai.training.recipe import Recipe
    from anime_ai.training.trainer import job_of

    recipe = Recipe.from_values({"base": str(file), "persona": "傲娇"}, settings)
    with pytest.raises(ModelError) as caught:
        RunQueue(settings).submit([Row("问", "答", "傲娇")], recipe, "", "")
    assert caught.value.key == "model.gguf_only_chats"
    folder = settings.output_dir / "run"
    runs.create(folder, recipe, run_id="x", name="x", dataset="", rows=None)
    with pytest.raises(ModelError) as caught:
        job_of(folder, resume=False)
    assert caught.value.key == "model.gguf_only_chats"


SHORT = replace(GREEDY, max_new_tokens=24)


def said(engine: Engine, question: str, adapter: Adapter | None, sampling: Sampling = SHORT) -> list[int]:
    prompt = engine.layout("auto", "silent").prompt(Dialogue(question=question))
    return [token for piece in engine.stream(prompt, adapter, "", sampling) for token in piece.ids]


@pytest.mark.parametrize("adapter", [None, Adapter(SHIPPED / "genki")], ids=["base", "adapter"])
def test_it_says_what_its_weights_say(starter: Base, lone: Base, settings: Settings, adapter: Adapter | None) -> None:
    plain = TransformersEngine(starter)
    with closing(open_engine(settings, lone)) as engine:
        for question in ("你喜欢什么动漫？", "晚饭吃什么呢？"):
            assert said(engine, question, adapter) == said(plain, question, adapter)


def test_it_is_chosen_and_answers_with_the_adapters_of_its_weights(file: Path, settings: Settings) -> None:
    with Studio.open(settings) as studio:
        own = studio.shelf.add(str(file))
        studio.use_base(own.entry.id)
        assert str(file) not in [one.id for one in studio.bases()]
        found = {one.id: one for one in studio.chat.adapters("傲娇")}
        assert found["shipped:tsundere"].base == found[""].base == str(file)
        assert studio.chat.answering("shipped:tsundere").starter
        answer = studio.say("你喜欢什么动漫？", "傲娇", "shipped:tsundere", GREEDY)
        assert answer == "哼，才不会随便告诉你呢！不过《EVA》还算不错吧。"
        assert studio.chat.answering("shipped:tsundere").loaded
        base, layout = studio.layout()
        assert base.lone
        assert layout.length("你好") > 0
    with Studio.open(Settings.load(output_dir=settings.output_dir)) as again:
        assert again.settings.model_name == str(file)
        again.remove_model(str(file))
        assert again.settings.model_name == "auto"
    assert file.is_file()
