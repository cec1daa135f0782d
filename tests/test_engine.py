"""The transformers engine against transformers itself: the same tokens, its cache, its lock, its adapters."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_models import change_json, make_adapter

from anime_ai.config import STARTER_LM
from anime_ai.errors import ModelError
from anime_ai.models import generation
from anime_ai.models.bases import Base
from anime_ai.models.engine import GREEDY, Adapter, Piece, Sampling, gathered
from anime_ai.models.text_stream import TextStream
from anime_ai.models.transformers_engine import TransformersEngine, load_tokenizer
from anime_ai.prompting import Dialogue, Exchange, Prompt

SHORT = replace(GREEDY, max_new_tokens=24)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory, base: Base) -> tuple[Adapter, Adapter]:
    folder = tmp_path_factory.mktemp("adapters")
    return Adapter(make_adapter(folder / "one", base, seed=1)), Adapter(
        make_adapter(folder / "two", base, seed=2, tokens=True)
    )


@pytest.fixture(scope="module")
def shared_engine(base: Base) -> TransformersEngine:
    return TransformersEngine(base)


@pytest.fixture
def engine(shared_engine: TransformersEngine) -> Iterator[TransformersEngine]:
    """One loaded model for all tests; each must leave it free."""
    yield shared_engine
    assert not shared_engine._busy.locked()
    shared_engine._caches.clear()


def ask(engine: TransformersEngine, question: str, history: tuple[Exchange, ...] = ()) -> Prompt:
    return engine.layout("auto", "silent").prompt(Dialogue(card="你是她。", history=history, question=question))


def ids(pieces: Iterator[Piece]) -> list[int]:
    return [token for piece in pieces for token in piece.ids]


def reference(base: Base, prompt: Prompt, adapter: Adapter | None, most: int) -> list[int]:
    """What transformers' own greedy search says, on a model of its own."""
    import torch
    from peft import PeftModel
    from transformers import Qwen2ForCausalLM

    model: Any = Qwen2ForCausalLM.from_pretrained(base.path, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter.path))
    tokens = torch.tensor([prompt.ids])
    result = model.eval().generate(
        input_ids=tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=most
    )
    return result[0, len(prompt.ids) :].tolist()


def test_greedy_equals_transformers_token_for_token(
    engine: TransformersEngine, base: Base, adapters: tuple[Adapter, Adapter]
) -> None:
    prompt = ask(engine, "今天天气怎么样？" * 5)
    answers = []
    for adapter in (None, *adapters, None):
        answer = ids(engine.stream(prompt, adapter, sampling=SHORT))
        assert answer == reference(base, prompt, adapter, 24)
        answers.append(answer)
    assert len({tuple(answer) for answer in answers}) == 3, (
        "base and two adapters must differ for this to prove anything"
    )
    assert answers[0] == answers[3]


def test_text_is_the_decoded_tokens_and_never_half_a_character(engine: TransformersEngine) -> None:
    layout = engine.layout("auto", "silent")
    pieces = list(engine.stream(ask(engine, "你好"), sampling=replace(Sampling(seed=3), max_new_tokens=60)))
    whole = layout.decode(token for piece in pieces for token in piece.ids if token not in layout.stop_ids)
    assert "".join(piece.text for piece in pieces) == whole.replace("\ufffd", "")


def test_bytes_that_make_no_character_are_left_out() -> None:
    tokenizer = load_tokenizer(Base("starter", STARTER_LM, True))
    rare, good = tokenizer.encode("龘"), tokenizer.encode("好")
    assert len(rare) == 2, "this character is no token of its own"
    for written, text in (
        ([*good, *rare, *good], "好龘好"),
        ([*good, *rare[:1], *good], "好好"),
        ([*good, rare[1], *rare[:1]], "好"),
    ):
        words = TextStream(tokenizer, ())
        pieces = [words.feed(token) for token in written]
        assert "".join([*pieces, words.close()]) == text
        assert "\ufffd" not in "".join(pieces)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each forward pass of the model reads."""
    counts: list[int] = []
    forward = generation._forward

    def counted(model: Any, kept: Any, ids: tuple[int, ...]) -> Any:
        counts.append(len(ids))
        return forward(model, kept, ids)

    monkeypatch.setattr(generation, "_forward", counted)
    return counts


def test_a_kept_cache_says_the_same_and_reads_only_what_is_new(
    engine: TransformersEngine, adapters: tuple[Adapter, Adapter], read: list[int]
) -> None:
    layout = engine.layout("auto", "silent")
    history: tuple[Exchange, ...] = ()
    previous = 0
    # Loaded first: a change of the kind of adapter loads the model afresh, without caches.
    list(engine.stream(ask(engine, "你好"), adapters[0], sampling=SHORT))
    for turn, question in enumerate(("你好呀", "你在做什么？", "再说一遍", "好吧")):
        prompt = ask(engine, question, history)
        for adapter in (None, adapters[0]):
            read.clear()
            kept = list(engine.stream(prompt, adapter, "conversation", SHORT))
            with_cache = sum(read)
            read.clear()
            fresh = list(engine.stream(prompt, adapter, "", SHORT))
            without = sum(read)
            assert ids(iter(kept)) == ids(iter(fresh))
            if turn:
                assert with_cache <= without - previous
        previous = len(ask(engine, question, history).ids) - 4
        reply = layout.clean("".join(piece.text for piece in fresh)) or "嗯"
        history = (*history, Exchange(question, reply))


def test_another_history_under_the_same_key_is_read_anew(engine: TransformersEngine) -> None:
    first, other = ask(engine, "你好呀" * 20), ask(engine, "别的问题")
    list(engine.stream(first, None, "conversation", SHORT))
    assert ids(engine.stream(other, None, "conversation", SHORT)) == ids(engine.stream(other, sampling=SHORT))
    assert ids(engine.stream(first, None, "conversation", SHORT)) == ids(engine.stream(first, sampling=SHORT))


def test_the_cache_of_a_conversation_is_forgotten_under_all_adapters(
    engine: TransformersEngine, adapters: tuple[Adapter, Adapter]
) -> None:
    prompt = ask(engine, "你好")
    for adapter, key in ((adapters[0], "one"), (adapters[1], "one"), (adapters[1], "other")):
        list(engine.stream(prompt, adapter, key, SHORT))
    engine.forget(["one", "nobody's"])
    assert [key for _, key in engine._caches] == ["other"]


def test_only_the_last_few_caches_and_adapters_are_kept(
    base: Base, adapters: tuple[Adapter, Adapter], tmp_path: Path
) -> None:
    engine = TransformersEngine(base)
    prompt = ask(engine, "你好")
    many = [Adapter(Path(shutil.copytree(adapters[1].path, tmp_path / str(place)))) for place in range(6)]
    answers = [ids(engine.stream(prompt, adapter, "key", SHORT)) for adapter in many]
    assert len({tuple(answer) for answer in answers}) == 1
    assert len(engine._adapters) == len(engine._model.peft_config) == 4
    assert len(engine._caches) <= 4
    assert ids(engine.stream(prompt, many[0], sampling=SHORT)) == answers[0]
    engine.close()
    assert not engine.loaded
    assert ids(engine.stream(prompt, many[0], sampling=SHORT)) == answers[0], "a closed engine loads again when asked"


def test_two_threads_with_two_adapters_get_their_own_character(
    engine: TransformersEngine, adapters: tuple[Adapter, Adapter]
) -> None:
    prompt = ask(engine, "今天天气怎么样？")
    expected = [ids(engine.stream(prompt, adapter, sampling=SHORT)) for adapter in (*adapters, None)]
    heard: dict[tuple[int, int], list[int]] = {}

    def talk(place: int, adapter: Adapter | None) -> None:
        for time in range(3):
            heard[place, time] = ids(engine.stream(prompt, adapter, f"talk {place}", SHORT))

    threads = [threading.Thread(target=talk, args=pair) for pair in enumerate((*adapters, None))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {(place, time): expected[place] for place in range(3) for time in range(3)}


def test_each_piece_may_be_fetched_by_another_thread(
    engine: TransformersEngine, adapters: tuple[Adapter, Adapter]
) -> None:
    import torch

    prompt = ask(engine, "今天天气怎么样？")
    expected = ids(engine.stream(prompt, adapters[0], sampling=SHORT))
    pieces = engine.stream(prompt, adapters[0], sampling=SHORT)
    heard: list[int] = []
    modes: list[bool] = []

    def fetch() -> None:
        heard.extend(next(pieces).ids)
        modes.append(torch.is_inference_mode_enabled())

    for _ in expected:
        thread = threading.Thread(target=fetch)
        thread.start()
        thread.join()
    pieces.close()
    assert heard == expected
    assert not any(modes)
    assert not torch.is_inference_mode_enabled()


def test_stop_ends_within_a_token(engine: TransformersEngine) -> None:
    stop = threading.Event()
    pieces = engine.stream(ask(engine, "你好"), sampling=SHORT, stop=stop)
    for _ in range(3):
        next(pieces)
    stop.set()
    assert all(not piece.ids and not piece.ended for piece in pieces)


def test_stop_ends_while_the_prompt_is_read(engine: TransformersEngine, read: list[int]) -> None:
    stop = threading.Event()
    prompt = ask(engine, "很长的问题" * 40)
    assert len(prompt.ids) > 500
    handle = engine._ready().get_input_embeddings().register_forward_hook(lambda *_: stop.set())
    try:
        assert list(engine.stream(prompt, None, "conversation", SHORT, stop)) == []
    finally:
        handle.remove()
    assert len(read) == 1
    assert read[0] < len(prompt.ids)
    stop.clear()
    assert ids(engine.stream(prompt, None, "conversation", SHORT, stop)) == ids(engine.stream(prompt, sampling=SHORT))


def test_closing_frees_the_engine_and_who_waits_can_give_up(engine: TransformersEngine) -> None:
    prompt = ask(engine, "你好")
    first = engine.stream(prompt, sampling=SHORT)
    next(first)
    stop = threading.Event()
    heard: list[list[Piece]] = []
    waiting = threading.Thread(target=lambda: heard.append(list(engine.stream(prompt, sampling=SHORT, stop=stop))))
    waiting.start()
    stop.set()
    waiting.join()
    assert heard == [[]]
    first.close()
    assert ids(engine.stream(prompt, sampling=SHORT))


def test_an_adapter_that_is_trained_again_in_place_is_read_again(
    engine: TransformersEngine, base: Base, adapters: tuple[Adapter, Adapter], tmp_path: Path
) -> None:
    place = tmp_path / "final_model"
    prompt = ask(engine, "今天天气怎么样？")
    expected = [ids(engine.stream(prompt, adapter, sampling=SHORT)) for adapter in adapters]
    for adapter, answer in zip(adapters, expected, strict=True):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(adapter.path, place, copy_function=shutil.copyfile)
        assert ids(engine.stream(prompt, Adapter(place), "conversation", SHORT)) == answer


def test_a_seed_repeats_and_another_one_does_not(engine: TransformersEngine) -> None:
    prompt = ask(engine, "你好")
    drawn = [
        ids(engine.stream(prompt, sampling=Sampling(temperature=1.0, max_new_tokens=30, seed=seed)))
        for seed in (1, 1, 2, None, None)
    ]
    assert drawn[0] == drawn[1]
    assert len({tuple(answer) for answer in drawn}) == 4


def test_the_filters_leave_one_token_where_they_are_tight(engine: TransformersEngine) -> None:
    prompt = ask(engine, "你好")
    greedy = ids(engine.stream(prompt, sampling=SHORT))
    for tight in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}, {"temperature": 1e-6}):
        sampling = Sampling(**{"temperature": 1.0, "top_p": 1.0, "repetition_penalty": 1.0, **tight}, max_new_tokens=24)
        assert ids(engine.stream(prompt, sampling=sampling)) == greedy


def test_a_repetition_penalty_looks_at_the_answer_alone(engine: TransformersEngine) -> None:
    prompt = replace(ask(engine, "你好"), stop_ids=frozenset())
    plain = ids(engine.stream(prompt, sampling=replace(SHORT, max_new_tokens=40)))
    other = ids(engine.stream(prompt, sampling=replace(SHORT, max_new_tokens=40, repetition_penalty=1e6)))
    assert len(set(plain)) < len(plain), "the model must repeat itself for this to prove anything"
    assert len(set(other)) == len(other)
    first_repeat = next(place for place in range(len(plain)) if plain[place] in plain[:place])
    assert other[:first_repeat] == plain[:first_repeat]


def test_an_answer_ends_before_a_stop_text_that_is_spelled_out(engine: TransformersEngine) -> None:
    prompt = ask(engine, "你好")
    sampling = replace(SHORT, max_new_tokens=40)
    text = "".join(piece.text for piece in engine.stream(prompt, sampling=sampling))
    mark = text[5:9]
    pieces = list(engine.stream(replace(prompt, stop_texts=(mark,)), sampling=sampling))
    assert "".join(piece.text for piece in pieces) == text[: text.index(mark)]
    assert pieces[-1].ended
    assert not any(piece.ended for piece in pieces[:-1])


def test_an_end_token_ends_the_answer(engine: TransformersEngine) -> None:
    prompt = ask(engine, "你好")
    answer = ids(engine.stream(prompt, sampling=SHORT))
    end = answer[4]
    pieces = list(engine.stream(replace(prompt, stop_ids=frozenset({end})), sampling=SHORT))
    assert ids(iter(pieces)) == answer[: answer.index(end) + 1]
    assert pieces[-1].ended


def _cut(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])


def _pickle_only(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def _rename_base(folder: Path) -> None:
    change_json(folder / "anime_ai.json", base="someone/else")


def _own_code(folder: Path) -> None:
    change_json(folder / "adapter_config.json", auto_mapping={"base_model_class": "Evil", "parent_library": "evil"})


def _other_rank(folder: Path) -> None:
    change_json(folder / "adapter_config.json", r=8)


def _other_layers(folder: Path) -> None:
    change_json(folder / "adapter_config.json", target_modules=["q_proj"])


def _tokens_lost(folder: Path) -> None:
    _rewrite(folder, lambda tensors: {name: one for name, one in tensors.items() if "token" not in name.split(".")[-1]})


def _tokens_out_of_range(folder: Path) -> None:
    change_json(folder / "adapter_config.json", trainable_token_indices=list(range(10**6, 10**6 + 86)))


def _layer_lost(folder: Path) -> None:
    _rewrite(folder, lambda tensors: {name: one for name, one in tensors.items() if "layers.1.mlp" not in name})


def _wrong_shapes(folder: Path) -> None:
    _rewrite(folder, lambda tensors: {name: one[:, :20] if "lora_A" in name else one for name, one in tensors.items()})


def _foreign_names(folder: Path) -> None:
    _rewrite(folder, lambda tensors: {name.replace("layers", "h"): one for name, one in tensors.items()})


def _rewrite(folder: Path, change: Any) -> None:
    from safetensors.torch import load_file, save_file

    weights = folder / "adapter_model.safetensors"
    save_file({name: one.contiguous() for name, one in change(load_file(weights)).items()}, weights)


SPOILERS = (
    *(_cut, _pickle_only, _rename_base, _own_code, _other_rank, _other_layers, _layer_lost, _wrong_shapes),
    *(_foreign_names, _tokens_lost, _tokens_out_of_range),
)


@pytest.mark.parametrize("loaded_before", [False, True], ids=["first", "second"])
def test_a_bad_adapter_is_refused_and_base_and_others_still_chat(
    base: Base, adapters: tuple[Adapter, Adapter], tmp_path: Path, loaded_before: bool
) -> None:
    engine = TransformersEngine(base)
    prompt = ask(engine, "今天天气怎么样？")
    plain = ids(engine.stream(prompt, sampling=SHORT))
    if loaded_before:
        spoken = ids(engine.stream(prompt, adapters[0], sampling=SHORT))
    for spoil in SPOILERS:
        bad = Adapter(Path(shutil.copytree(adapters[1].path, tmp_path / spoil.__name__)))
        spoil(bad.path)
        with pytest.raises(ModelError) as caught:
            list(engine.stream(prompt, bad, "conversation", SHORT))
        assert str(bad.path) in caught.value.say("zh"), spoil.__name__
        assert ids(engine.stream(prompt, None, "conversation", SHORT)) == plain, spoil.__name__
        if loaded_before:
            assert ids(engine.stream(prompt, adapters[0], sampling=SHORT)) == spoken, spoil.__name__


def test_weights_of_other_shapes_are_told(base: Base, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(base.path, tmp_path / "bent"))
    change_json(folder / "config.json", hidden_size=32)
    engine = TransformersEngine(Base("bent", folder))
    with pytest.raises(ModelError) as caught:
        list(engine.stream(ask(engine, "你好"), sampling=SHORT))
    assert caught.value.key == "model.load_failed"
    assert not engine._busy.locked()


def test_nothing_is_loaded_before_it_is_asked_for(base: Base) -> None:
    engine = TransformersEngine(base)
    engine.layout("auto", "silent")
    assert not engine.loaded
    assert engine.context_length() == 1024
    assert engine.loaded


def test_the_loss_of_a_row_is_that_of_its_trained_tokens(
    engine: TransformersEngine, base: Base, adapters: tuple[Adapter, Adapter]
) -> None:
    import torch
    from transformers import Qwen2ForCausalLM

    row = engine.layout("auto", "silent").training_row(Dialogue(card="你是她。", question="你好"), "哼。")
    model = Qwen2ForCausalLM.from_pretrained(base.path, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([row.ids]), labels=torch.tensor([row.labels])).loss
    assert engine.loss(row.ids, row.labels) == pytest.approx(float(expected), rel=1e-5)
    assert engine.loss(row.ids, row.labels, adapters[0]) != pytest.approx(float(expected), rel=1e-3)


def test_pieces_that_come_at_once_are_told_together_and_none_is_lost():
    pieces = [Piece(f"{n}", (n,)) for n in range(20)] + [Piece("", (20,), ended=True, untold=2)]
    for within in (0.0, 0.005, 60.0):
        told = list(gathered(iter(pieces), within))
        assert "".join(one.text for one in told) == "".join(one.text for one in pieces)
        assert [id for one in told for id in one.ids] == list(range(21))
        assert (told[-1].ended, sum(one.tokens for one in told)) == (True, 23)
    assert [len(one.ids) for one in told] == [1, 20], "the first word waits for nothing"
    assert len(list(gathered(iter(pieces), 0.0))) == 21


def test_what_was_held_is_told_before_the_error_that_ends_an_answer():
    def broken() -> Iterator[Piece]:
        yield from (Piece("你", (1,)), Piece("好", (2,)))
        raise ModelError("model.unknown", name="x")

    told = gathered(broken(), 60.0)
    assert [next(told).text, next(told).text] == ["你", "好"]
    with pytest.raises(ModelError):
        next(told)
