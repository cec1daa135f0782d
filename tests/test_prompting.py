"""The one renderer: the training contract on several tokenizers, against prompts that are written out by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anime_ai.config import STARTER_LM
from anime_ai.errors import PromptError
from anime_ai.prompting import (
    FORMATS,
    MASKED,
    POLICIES,
    Dialogue,
    Exchange,
    Layout,
    TrainingRow,
    own_format,
)

BEGIN, END, USER, HER = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"
SILENT = "<think>\n\n</think>\n\n"
MARKS = [BEGIN, END, USER, HER, "<think>", "</think>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
MARKS += ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
NASTY = "甲" + "乙 b\n".join(MARKS) + f"<{USER}<|im_<|im_end|>end|></think\u200b>丙"
PLAIN = "甲乙 b\n丙"


def made_tokenizer(special: Sequence[str], added: Sequence[str] = (), normalizer: Any = None, **named: str) -> Any:
    """A byte-level tokenizer without merges."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    if normalizer is not None:
        inner.normalizer = normalizer
    inner.add_special_tokens([AddedToken(mark, special=True) for mark in special])
    inner.add_tokens([AddedToken(mark) for mark in added])
    return PreTrainedTokenizerFast(tokenizer_object=inner, **named)


def qwen_like() -> Any:
    """ChatML, merges learned from Chinese and English, no begin token and no think tokens: as Qwen2.5's."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.normalizer = normalizers.NFC()
    words = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    split = pre_tokenizers.Split(words, "isolated")
    inner.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    inner.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    text = ["哼，才不会随便告诉你呢！\n\n不过也不是不行。", "user assistant system hello <think>\n\n</think>\n\n"] * 20
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        text,
        trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=special, show_progress=False),
    )
    inner.add_tokens(["<tool_call>", "</tool_call>"])
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|endoftext|>")


@pytest.fixture(scope="module")
def real(test_data: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(test_data / "tokenizer")


@pytest.fixture(scope="module", params=["deepseek", "starter", "qwen"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    if request.param == "deepseek":
        return request.getfixturevalue("real")
    if request.param == "qwen":
        return qwen_like()
    from transformers import AutoTokenizer

    if not (STARTER_LM / "tokenizer.json").exists():
        pytest.skip("the starter tokenizer is not in this checkout")
    return AutoTokenizer.from_pretrained(STARTER_LM)


@pytest.fixture(params=["auto", *FORMATS])
def format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=POLICIES)
def think(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def whole(text: str) -> Dialogue:
    """A dialogue with `text` in every slot, and three turns."""
    turn = Exchange(text, text, text)
    return Dialogue(text, (Exchange(text, text), Exchange(text, text)), text, text, (turn, turn), text, text)


def clause(layout: Layout, dialogue: Dialogue, answer: str, inner: str, row: TrainingRow) -> str:
    """The clause of the contract that `row` breaks, "" where it keeps it."""
    try:
        layout.check(dialogue, answer, inner, row)
    except PromptError as error:
        return str(error.values["clause"])
    return ""


# The contract


def test_contract_with_control_tokens_in_every_text(tokenizer: Any, format: str, think: str) -> None:
    layout = Layout(tokenizer, format, think)
    dialogue = whole(NASTY)
    row = layout.training_row(dialogue, NASTY, NASTY)
    assert clause(layout, dialogue, NASTY, NASTY, row) == ""

    prompt = layout.prompt(dialogue).ids
    assert row.ids[: len(prompt)] == prompt
    assert len(row.ids) == len(row.labels)
    assert set(row.labels[: len(prompt)]) == {MASKED}
    if tokenizer.bos_token_id is not None:
        assert row.ids[0] == tokenizer.bos_token_id
        assert row.ids.count(tokenizer.bos_token_id) == 1
    assert row.ids[-1] == row.labels[-1]
    assert row.ids[-1] in layout.stop_ids

    # What people write adds no control token: there are as many, in the same order, as round a plain text.
    controls = set(tokenizer.get_added_vocab().values())
    plain = layout.training_row(whole(PLAIN), PLAIN, PLAIN)
    assert [token for token in row.ids if token in controls] == [token for token in plain.ids if token in controls]

    # And nothing is lost: full-width marks made half-width again, and the joiner taken away, every text is there.
    said = layout.decode(row.ids).replace("＜", "<").replace("\u2060", "")
    assert said.count(NASTY) == 16 + (think == "inner")


def test_only_the_answer_its_end_and_the_inner_thought_are_trained(tokenizer: Any, format: str, think: str) -> None:
    layout = Layout(tokenizer, format, think)
    row = layout.training_row(whole(PLAIN), "哼，你好 you。", "其实 yes……")
    trained = layout.decode(label for label in row.labels if label != MASKED)
    ended = next(end for end in (END, "<|im_end|>", "</tool_response>") if trained.split("。")[1].startswith(end))
    assert trained.startswith("其实 yes……\n</think>\n\n哼，你好 you。" if think == "inner" else "哼，你好 you。")
    assert ended == FORMATS[layout.format].end
    assert trained.split("。")[1].removeprefix(ended) in ("", tokenizer.eos_token)
    first = next(place for place, label in enumerate(row.labels) if label != MASKED)
    assert row.labels[first:] == row.ids[first:]


def test_prompt_and_answer_are_a_prefix_of_the_next_prompt(tokenizer: Any, format: str, think: str) -> None:
    layout = Layout(tokenizer, format, think)
    opening = 0
    if think != "silent":  # a history's answer stands behind the empty block, not behind an open thought
        opening = len(tokenizer.encode("<think>\n", add_special_tokens=False)) if layout.opens_thought else 0
    chance = random.Random(7)
    history: tuple[Exchange, ...] = ()
    for _turn in range(6):
        question, answer = ("".join(chance.choices("哼嗯a b。\n，《", k=chance.randint(3, 20))) + "完" for _ in "qa")
        brought = chance.choice(["", "〔资料〕鱼\n"])
        now = Dialogue("你是傲娇。", (), "喜欢猫！", "来了？", history, question, brought)
        history = (*history, Exchange(question, answer, brought))
        row = layout.training_row(now, answer, "")
        said = tuple(label for label in row.labels if label != MASKED)
        prompt = layout.prompt(now).ids
        following = layout.prompt(replace(now, history=history, question="然后呢", brought="")).ids
        kept = prompt[: len(prompt) - opening]
        assert following[: len(kept)] == kept
        if think == "silent":
            assert following[: len(prompt) + len(said)] == prompt + said


def test_the_shared_part_is_the_same_whatever_follows(tokenizer: Any, format: str, think: str) -> None:
    layout = Layout(tokenizer, format, think)
    examples = (Exchange("你好", "哼。"),)
    for card, shown in (("你是傲娇。", ()), ("你是傲娇。", examples), ("", examples), ("", ())):
        one = layout.prompt(Dialogue(card, shown, question="你好"))
        others = [
            layout.prompt(Dialogue(card, shown, "喜欢猫。", "来了？", (Exchange("a", "b"),), "吃了吗", "饭")),
            layout.prompt(Dialogue(card, shown, "\n讨厌狗", question="嗯")),
        ]
        for other in others:
            assert other.shared == one.shared
            assert other.ids[: one.shared] == one.ids[: one.shared]
        text = layout.decode(one.ids[: one.shared])
        assert text.endswith("你：哼。" if shown else card)
        assert card in text


def test_messages_say_the_same_as_the_tokens(tokenizer: Any, format: str) -> None:
    layout = Layout(tokenizer, format)
    dialogue = Dialogue(
        "你是傲娇。", (Exchange("例", "子"),), "喜欢猫。", "来了？", (Exchange("问", "答", "料"),), "再问", "书"
    )
    prompt = layout.prompt(dialogue)
    assert [message["role"] for message in prompt.messages] == ["system", "assistant", "user", "assistant", "user"]
    assert prompt.messages[0]["content"] == "你是傲娇。\n\n对话示例：\n用户：例\n你：子\n\n喜欢猫。"
    assert prompt.messages[-1]["content"] == "书\n\n再问"
    said = layout.decode(prompt.ids)
    places = [said.index(message["content"]) for message in prompt.messages]
    assert places == sorted(places)
    assert layout.prompt(Dialogue(question="问")).messages == ({"role": "user", "content": "问"},)


# Against prompts that are written out by hand


def test_deepseek_silent_equals_the_prompt_written_by_hand(real: Any) -> None:
    def encoded(text: str) -> tuple[int, ...]:
        return tuple(real.encode(text, add_special_tokens=False))

    layout = Layout(real, "deepseek-r1", "silent")
    card, question = "你是傲娇的动漫角色。", "可以帮我写作业吗？"
    one = Dialogue(card=card, question=question)
    written = f"{BEGIN}{card}{USER}{question}{HER}{SILENT}"
    assert layout.prompt(one).ids == encoded(written)
    answer = "想让我帮你？哼，自己努力一点啦！ OK?"
    assert layout.training_row(one, answer).ids == encoded(f"{written}{answer}{END}")
    assert Layout(real).prompt(one).ids == encoded(written), "auto takes the model's own format"

    turns = (Exchange("在吗", "哼，不在。"), Exchange("Hello there!", "……\n吵死了", "资料：猫。"))
    several = Dialogue(card, (), "", "你来干嘛？", turns, question, "书上写着：\n作业自己写。")
    written = (
        f"{BEGIN}{card}{HER}{SILENT}你来干嘛？{END}{USER}在吗{HER}{SILENT}哼，不在。{END}"
        f"{USER}资料：猫。\n\nHello there!{HER}{SILENT}……\n吵死了{END}"
        f"{USER}书上写着：\n作业自己写。\n\n{question}{HER}{SILENT}"
    )
    assert layout.prompt(several).ids == encoded(written)

    # Facts are tokens of their own, so that the shared part stays whole; the text is the same.
    facts = replace(several, facts="主人喜欢猫。")
    prompt = layout.prompt(facts).ids
    assert layout.decode(prompt) == written.replace(card, f"{card}\n\n主人喜欢猫。")
    assert prompt[:1] + encoded(card) + encoded("\n\n主人喜欢猫。") == prompt[: prompt.index(real.encode(HER)[-1])]


def test_deepseek_against_the_published_template(real: Any) -> None:
    def published(messages: list[dict[str, str]], thinking: bool) -> str:
        return str(
            real.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=thinking)
        )

    dialogue = Dialogue("你是傲娇。", (), "", "", (Exchange("在吗", "不在。"),), "写作业！")
    messages = [dict(message) for message in Layout(real).prompt(dialogue).messages]
    # `open` opens the thought just as the template does.
    alone = [messages[0], messages[-1]]
    ours = Layout(real, think="open").prompt(replace(dialogue, history=())).ids
    assert ours == tuple(real.encode(published(alone, True), add_special_tokens=False))
    # On purpose another: the history's empty block, which the template drops (and with it the cache and the likeness
    # to the training rows), and the blank lines of the silent opening, which are those R1 writes itself.
    said = Layout(real).decode(Layout(real).prompt(dialogue).ids)
    assert said.endswith(f"{HER}{SILENT}")
    assert published(messages, False).endswith(f"{HER}<think>\n</think>")
    assert said.replace(SILENT, "") == published(messages, False).replace("<think>\n</think>", "")


def test_chatml_is_as_the_qwen_template_writes_it() -> None:
    tokenizer = qwen_like()
    tokenizer.chat_template = (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'"
        " + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    layout = Layout(tokenizer)
    assert layout.format == "chatml"
    assert not layout.opens_thought
    prompt = layout.prompt(Dialogue("你是傲娇。", (), "", "", (Exchange("在吗", "不在。"),), "写作业！"))
    messages = [dict(message) for message in prompt.messages]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert prompt.ids == tuple(tokenizer.encode(text, add_special_tokens=False))
    ends, opens = (tokenizer.convert_tokens_to_ids(mark) for mark in ("<|im_end|>", "<|im_start|>"))
    assert prompt.stop_ids == {ends, opens}, "a model that leaves its end out must not speak for the user"


def test_seed_is_the_original_layout_to_the_letter(tokenizer: Any) -> None:
    layout = Layout(tokenizer, "seed")
    row = layout.training_row(Dialogue(question="你喜欢什么动漫？"), "哼，才不告诉你！")
    literal = "<think>user\n你喜欢什么动漫？</tool_call>\nassistant\n哼，才不告诉你！</tool_response>"
    begin = tokenizer.bos_token or ""
    assert layout.decode(row.ids) == f"{begin}{literal}{tokenizer.eos_token}"
    assert layout.decode(label for label in row.labels if label != MASKED) == (
        f"哼，才不告诉你！</tool_response>{tokenizer.eos_token}"
    )
    assert layout.stop_texts == ("</tool_response>",)
    row = layout.training_row(Dialogue("卡", history=(Exchange("甲", "乙"),), question="丙"), "丁")
    assert layout.decode(row.ids).removeprefix(begin).replace(tokenizer.eos_token, "") == (
        "<think>system\n卡</tool_call>\n<think>user\n甲</tool_call>\nassistant\n乙</tool_response>\n"
        "<think>user\n丙</tool_call>\nassistant\n丁</tool_response>"
    )


def test_inner_and_open_open_the_thought(tiny_tokenizer: Any) -> None:
    dialogue = Dialogue(question="问")
    inner, free = Layout(tiny_tokenizer, think="inner"), Layout(tiny_tokenizer, think="open")
    for layout in (inner, free):
        assert layout.opens_thought
        assert layout.decode(layout.prompt(dialogue).ids) == f"{BEGIN}{USER}问{HER}<think>\n"
    row = inner.training_row(dialogue, "哼", "高兴")
    assert inner.decode(row.ids) == f"{BEGIN}{USER}问{HER}<think>\n高兴\n</think>\n\n哼{END}"
    assert inner.decode(label for label in row.labels if label != MASKED) == f"高兴\n</think>\n\n哼{END}"
    row = free.training_row(dialogue, "哼", "高兴")
    assert free.decode(row.ids) == f"{BEGIN}{USER}问{HER}<think>\n\n</think>\n\n哼{END}"
    assert free.decode(label for label in row.labels if label != MASKED) == f"哼{END}"


# Rows and tokenizers that break the contract


@pytest.mark.parametrize("think", POLICIES)
def test_a_broken_row_is_caught(tiny_tokenizer: Any, think: str) -> None:
    layout = Layout(tiny_tokenizer, think=think)
    dialogue, answer, inner = Dialogue("卡", question="你好 you"), "哼，才不", "高兴"
    row = layout.training_row(dialogue, answer, inner)
    begin, end = layout.tokenizer.bos_token_id, layout.tokenizer.eos_token_id
    start = next(place for place, label in enumerate(row.labels) if label != MASKED)
    user = layout.tokenizer.convert_tokens_to_ids(USER)

    def put(place: int, token: int, label: int) -> TrainingRow:
        ids, labels = [*row.ids[:place], token, *row.ids[place + 1 :]], [*row.labels]
        labels[place] = label
        return TrainingRow(tuple(ids), tuple(labels))

    last = len(row.ids) - 1
    broken = {
        "end token dropped": (TrainingRow(row.ids[:-1], row.labels[:-1]), "end"),
        "end token not trained": (put(last, end, MASKED), "end"),
        "label in the prompt": (put(0, row.ids[0], row.ids[0]), "prefix"),
        "last token of the prompt trained": (put(start - 1, 5, 5), "prefix"),
        "second begin token": (TrainingRow((begin, *row.ids), (MASKED, *row.labels)), "prefix"),
        "begin token missing": (TrainingRow(row.ids[1:], row.labels[1:]), "prefix"),
        "begin token in the answer": (put(start + 1, begin, begin), "begin"),
        "nothing trained": (TrainingRow(row.ids, (MASKED,) * len(row.ids)), "trained"),
        "label of another token": (put(start, row.ids[start], row.ids[start] + 1), "trained"),
        "labels one short": (TrainingRow(row.ids, row.labels[:-1]), "trained"),
        "role token in the answer": (put(start + 1, user, user), "control"),
        "hole in the answer": (put(start + 1, row.ids[start + 1], MASKED), "text"),
        "another answer": (put(start, 9, 9), "text"),
    }
    if think == "open":  # there the last masked token closes the thought, behind the chat-time prompt
        del broken["last token of the prompt trained"]
    assert clause(layout, dialogue, answer, inner, row) == ""
    assert {name: clause(layout, dialogue, answer, inner, one) for name, (one, _) in broken.items()} == {
        name: expected for name, (_, expected) in broken.items()
    }


def test_a_layout_that_writes_two_begin_tokens_is_caught(tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tiny_tokenizer)
    monkeypatch.setattr(layout, "_begin", (tiny_tokenizer.bos_token_id,) * 2)
    dialogue = Dialogue(question="问")
    assert clause(layout, dialogue, "答", "", layout.training_row(dialogue, "答")) == "begin"


@pytest.mark.parametrize("lost", ["[一-鿿]", " "])
@pytest.mark.parametrize(("question", "answer"), [("你好 you", "ok"), ("ok", "哼 hm")])
def test_a_tokenizer_that_loses_text_is_caught(lost: str, question: str, answer: str) -> None:
    from tokenizers import Regex, normalizers

    tokenizer = made_tokenizer(
        ["<s>", "</s>"], ["<|im_start|>"], normalizers.Replace(Regex(lost), ""), bos_token="<s>", eos_token="</s>"
    )
    layout = Layout(tokenizer)
    dialogue = Dialogue(question=question)
    assert clause(layout, dialogue, answer, "", layout.training_row(dialogue, answer)) == "text"


def test_a_tokenizer_that_brings_control_tokens_back_is_refused_in_the_chat_too() -> None:
    from tokenizers import normalizers

    tokenizer = made_tokenizer(
        ["<s>", "</s>"], ["<|im_start|>", "<|im_end|>"], normalizers.NFKC(), bos_token="<s>", eos_token="</s>"
    )
    layout = Layout(tokenizer)
    assert layout.prompt(Dialogue(question="你好")).ids
    with pytest.raises(PromptError) as caught:
        layout.prompt(Dialogue(question="<|im_end|>"))
    assert caught.value.values["clause"] == "control"


def test_the_begin_token_may_be_the_end_token_or_a_mark_of_the_format() -> None:
    dialogue = Dialogue("卡", history=(Exchange("a", "b"),), question="问")
    same = made_tokenizer(["<|endoftext|>"], bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    layout = Layout(same, "chatml")
    row = layout.training_row(dialogue, "答")
    assert clause(layout, dialogue, "答", "", row) == ""
    assert row.ids[0] == same.bos_token_id
    mark = made_tokenizer(["<|im_start|>", "<|im_end|>"], bos_token="<|im_start|>", eos_token="<|im_end|>")
    layout = Layout(mark)
    row = layout.training_row(dialogue, "答")
    assert clause(layout, dialogue, "答", "", row) == ""
    assert layout.decode(row.ids).startswith("<|im_start|>system\n卡<|im_end|>\n<|im_start|>user\na")


def test_added_words_are_text_and_not_control_tokens() -> None:
    tokenizer = made_tokenizer(
        ["<s>", "</s>"], ["<|im_start|>", "<|im_end|>", "傲娇", "  "], bos_token="<s>", eos_token="</s>"
    )
    layout = Layout(tokenizer)
    dialogue = Dialogue("你是傲娇。", question="傲娇  是什么 </s>")
    row = layout.training_row(dialogue, "哼  傲娇")
    assert clause(layout, dialogue, "哼  傲娇", "", row) == ""
    assert "傲娇  是什么 ＜/s>" in layout.decode(row.ids)


def test_layouts_that_cannot_be() -> None:
    bare = made_tokenizer(["<s>", "</s>"], bos_token="<s>", eos_token="</s>")
    endless = made_tokenizer(["<|im_start|>"])
    for make, key in (
        (lambda: Layout(bare), "prompt.no_own_format"),
        (lambda: Layout(endless), "prompt.no_end_token"),
        (lambda: Layout(bare, "alpaca"), "prompt.unknown_layout"),
        (lambda: Layout(bare, "chatml", "loud"), "prompt.unknown_layout"),
    ):
        with pytest.raises(PromptError) as caught:
            make()
        assert caught.value.key == key
        assert caught.value.say("zh") != caught.value.say("en")
    assert own_format(["<|im_start|>", HER]) == "deepseek-r1"


def test_fingerprint_tells_layouts_apart(tiny_tokenizer: Any) -> None:
    layouts = [(format, think) for format in FORMATS for think in POLICIES]
    prints = {layout: Layout(tiny_tokenizer, *layout).fingerprint() for layout in layouts}
    assert len(set(prints.values())) == len(layouts)
    assert Layout(tiny_tokenizer).fingerprint() == prints["deepseek-r1", "silent"]


# Text as it is rendered


def test_clean_text(tiny_tokenizer: Any) -> None:
    layout = Layout(tiny_tokenizer)
    assert layout.clean("  a\r\nb\rc \n") == "a\nb\nc"
    assert layout.clean("e\u0301") == "é"
    assert layout.clean("1 < 2 <b>粗</b> <think") == "1 < 2 <b>粗</b> <think"
    assert layout.clean("<think>") == "＜think>"
    assert layout.clean("a\ud800b\ud83d\ude00c\udc00") == "a\ufffdb😀c\ufffd"
    assert layout.clean("\ufeff好\0") == "\ufeff好\0"
    for text in (NASTY, PLAIN, "", "\ud800", "<｜User｜>" * 3):
        once = layout.clean(text)
        assert layout.clean(once) == once
        assert not any(mark in once for mark in MARKS)
    assert layout.prompt(Dialogue(question="\ud800")).ids
