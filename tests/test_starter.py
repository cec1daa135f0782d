"""The starter language model: its corpus, its tokenizer, and the weights that ship."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anime_ai.config import DATA, STARTER_LM, Settings
from anime_ai.dataset.files import good_rows, read_rows
from anime_ai.dataset.split import split_rows
from anime_ai.models.adapters import check_adapter, read_card
from anime_ai.models.bases import STARTER, find_base
from anime_ai.persona.cards import Personas
from anime_ai.prompting import Dialogue, Exchange, Layout
from anime_ai.starter import (
    adapters,
    card,
    corpus,
    events,
    grammar,
    measures,
    reading,
    seeing,
    tokenizer,
)
from anime_ai.starter.curriculum import COURSES, LESSONS

REMAKE = "the layout moved on: run `python -m anime_ai.starter`"
MOST = 10_000_000


@pytest.fixture(scope="module")
def shipped_tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(STARTER_LM)


@pytest.fixture(scope="module")
def shipped_model():
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(STARTER_LM, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def some_talks() -> list[corpus.Talk]:
    return list(corpus.talks(400, seed=5))


# Grammar


def test_grammar_binds_a_word_for_the_whole_topic():
    read = grammar.read(["@果 味\n梨 甜\n柠檬 酸\n# 果\n? {果}(好吃|怎样)吗\n! {果}很{果.味}，不是{果2}。\n"])
    (topic,) = read.topics
    pairs = {read.say(topic.openings, random.Random(seed), {}) for seed in range(40)}
    assert {said for said, _, _ in pairs} == {f"{word}{end}吗？" for word in ("梨", "柠檬") for end in ("好吃", "怎样")}
    assert {reply for said, reply, _ in pairs if "梨" in said} == {"梨很甜，不是柠檬。"}


@pytest.mark.parametrize(
    ("text", "cited"),
    [("? 你好吗\n", "你好吗"), ("# 空\n? 你好吗\n", "空"), ("@果 味\n梨\n", "梨"), ("# 空\n% 错\n", "% 错")],
)
def test_grammar_cites_the_line_it_cannot_read(text: str, cited: str):
    with pytest.raises(ValueError, match=cited):
        grammar.read([text])


def test_every_template_of_the_shipped_grammar_can_be_said():
    read = grammar.shipped()
    for topic in read.topics:
        chance = random.Random(topic.name)
        for template in (*topic.card, *topic.facts):
            assert read.expand(template, chance, {})
        for turns in (topic.openings, *topic.follow_ups):
            for turn in turns:
                for text in (*(template for template, _ in turn.says), *turn.answers):
                    said = read.expand(text, chance, {})
                    assert said, (topic.name, text)
                    assert not set("(){}|") & set(said), (topic.name, text)


def test_a_voice_and_more_ways_to_say_it_extend_a_turn():
    read = grammar.read(["# 雨\n? 下雨吗\n! 下。\n+\n- 没伞\n! 借你。\n"])
    grammar.extend(read, "# 雨+1\n- 伞坏了\n")
    grammar.extend(read, "# 雨\n! 哼，下。\n# 雨+1\n! 拿去。\n", "tsundere")
    (topic,) = read.topics
    assert read.say(topic.openings, random.Random(0), {}, "tsundere") == ("下雨吗？", "哼，下。", "雨")
    said = {read.say(topic.follow_ups[0], random.Random(seed), {}, "tsundere") for seed in range(20)}
    assert said == {("没伞。", "拿去。", "雨+1"), ("伞坏了。", "拿去。", "雨+1")}


@pytest.mark.parametrize("text", ["# 雪\n- 下雪了\n", "- 没有题目\n", "# 雨\n! 没有声音\n", "# 雨\n& 卡\n"])
def test_an_extension_of_nothing_is_cited(text: str):
    read = grammar.read(["# 雨\n? 下雨吗\n! 下。\n"])
    with pytest.raises(ValueError, match=text.splitlines()[-1] if "雪" not in text else "雪"):
        grammar.extend(read, text)


def test_every_turn_has_an_answer_in_every_voice():
    named = [
        (topic.name, set(turn.voices))
        for topic in grammar.shipped().topics
        for turns in (topic.openings, *topic.follow_ups)
        for turn in turns
    ]
    assert [name for name, voices in named if voices != set(corpus.VOICES)] == []


def test_voices_do_not_repeat_themselves():
    for voice in corpus.VOICES:
        answers = [
            answer
            for topic in grammar.shipped().topics
            for turns in (topic.openings, *topic.follow_ups)
            for turn in turns
            for answer in turn.voices[voice]
        ]
        openings = Counter(answer[:4] for answer in answers)
        assert max(openings.values()) < 0.02 * len(answers)
        assert max(Counter(answers).values()) <= 2


# Passages and pictures


@pytest.mark.parametrize("lesson", [reading.one_fact, reading.several])
def test_passages_hold_the_answers_and_no_template(lesson):
    for seed in range(200):
        read = lesson(random.Random(seed))
        text = "".join(read.passages)
        assert not set("{}()|") & set(text + "".join(said for said, _ in read.asked))
        for said, value in read.asked:
            assert said
            assert value in text


def test_what_is_missing_was_not_said():
    for seed in range(300):
        chance = random.Random(seed)
        facts = reading._facts(chance, 2, 3)
        said, value = reading._missing(facts, chance)
        assert not value
        assert said.rstrip("？?呢") not in {question for fact in facts for question, _ in fact.asked}


def test_every_word_of_an_event_is_told_and_can_be_asked_for():
    chance = random.Random(1)
    for kind, known in events.shipped().items():
        assert len(known) >= 10, kind
        for event in known:
            bound = event.bind(chance, "某某")
            assert bound[event.about] == "某某"
            assert len(set(bound.values())) == len(bound)
            for told in event.told:
                sentence = events.fill(told, bound, chance)
                assert all(word in sentence for word in bound.values()), sentence
            for slot, question in event.questions:
                asked = events.fill(question, bound, chance)
                assert any(word in asked for name, word in bound.items() if name != slot)
                assert not set("{}()|") & set(asked)


def test_ordinals_are_not_counted():
    (event,) = events.read("# 集\n= {人}在第{数:集}出场。\n?数 {人}在哪集出场\n")
    assert not any("两" in event.bind(random.Random(seed))["数"] for seed in range(300))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("= {人}笑了。", "笑"),
        ("# 笑\n= {人}笑了。", "笑: nothing"),
        ("# 笑\n= {人}笑{年份}。\n= {人}笑了。\n?人 {年份}谁笑", "笑: {人}笑了"),
        ("# 笑\n= {人}笑{何}。\n?人 {何}谁笑", "笑: 何"),
        ("# 笑\n= {人}笑{数}。\n?人 {数}谁笑", "笑: 数"),
        ("# 笑\n= {日期}笑{年份}。\n?日期 {年份}哪天笑", "笑: about nobody"),
        ("# 笑\n= {人}笑{年份}。\n?人 谁笑", "笑: 谁笑"),
        ("# 笑\n= {人}笑{年份}。\n?人 {人}笑", "笑: {人}笑"),
        ("# 笑\n= {人}笑{年份}。\n?地 {人}在哪笑", "笑: {人}在哪笑"),
        ("# 笑\n? {人}笑", "人"),
    ],
)
def test_events_cite_what_they_cannot_read(text: str, wrong: str):
    with pytest.raises(ValueError, match=re.escape(wrong)):
        events.read(text)


def test_some_questions_have_no_answer_and_are_told_so():
    asked = [one for seed in range(300) for one in reading.several(random.Random(seed)).asked]
    assert 0.2 < sum(not value for _, value in asked) / len(asked) < 0.4
    for voice in ("", *corpus.VOICES):
        told = {reading.answer("", random.Random(seed), voice) for seed in range(20)}
        assert all(any(word in text for word in measures.NOT_TOLD) for text in told), told


@pytest.mark.parametrize(
    "text",
    [
        "# 生日 人 日期\n= {主}的生日。\n",
        "# 生日 人 日期\n= {主}在{值}。\n",
        "# 怕 人 短语\n? {主}怕什么\n",
        "? {主}\n",
        "# 生日 人\n",
        "# 生日 人 日其\n~ 怕\n= {主}在{值}。\n? {主}在哪\n",
    ],
)
def test_reading_cites_what_it_cannot_read(text: str):
    with pytest.raises(ValueError, match="生日|怕|主"):
        reading.read(text)


@pytest.mark.parametrize("voice", ["", *corpus.VOICES])
def test_what_is_seen_is_answered(voice: str):
    for seed in range(200):
        look = seeing.look(random.Random(seed), voice)
        assert not set("{}()|") & set(look.sentence + "".join(said + reply for said, reply in look.asked))
        for _, reply in look.asked:
            unseen = reply in seeing.shipped()[seeing.UNSEEN].answers[voice]
            words = [word for one in seeing.shipped().values() for word in one.words]
            assert unseen or any(word in reply and word in look.sentence for word in words), (look, reply)
    sentence, word = seeing.showing("瞳色", random.Random(3))
    assert word in sentence


@pytest.mark.parametrize("text", ["~ 红\n", "# 色\n!\n", "#\n", "# 色\n~ 红\n? 啥色\n! {}。\n", "# 色\n& 红\n"])
def test_seeing_cites_what_it_cannot_read(text: str):
    with pytest.raises(ValueError, match="红|色|!|#"):
        seeing.read(text)


# Corpus


def test_corpus_is_the_same_for_the_same_seed(some_talks: list[corpus.Talk]):
    assert list(corpus.talks(400, seed=5)) == some_talks
    assert list(corpus.talks(400, seed=6)) != some_talks


def test_corpus_has_every_kind_of_head(some_talks: list[corpus.Talk]):
    assert any(not talk.card and not talk.facts for talk in some_talks)
    for name in ("card", "facts", "greeting", "examples"):
        assert any(getattr(talk, name) for talk in some_talks), name
    brought = "".join(turn.brought for talk in some_talks for turn in talk.turns)
    assert "【资料1】" in brought
    assert "【图片】" in brought
    assert any(len(talk.turns) > 2 for talk in some_talks)
    assert all(turn.user and turn.reply for talk in some_talks for turn in talk.turns)


def test_asked_for_its_name_it_says_the_card_s():
    topic = next(topic for topic in grammar.shipped().topics if topic.name == "卡名")
    source = corpus.source()
    alone = replace(source, carded=(topic,))
    for seed in range(30):
        talk = corpus.KINDS["card"](alone, random.Random(seed))
        name = talk.card.removeprefix("你扮演").removeprefix("你是").removeprefix("你叫")[:2]
        assert any(name in turn.reply for turn in talk.turns)


def test_nobody_speaks_in_a_voice_unless_the_card_asks_for_it(some_talks: list[corpus.Talk]):
    turns = [turn for topic in grammar.shipped().topics for turn in topic.openings]
    voiced = {answer for turn in turns for answers in turn.voices.values() for answer in answers}
    voiced -= {answer for turn in turns for answer in turn.answers}
    for talk in some_talks:
        if "语气：" not in talk.card:
            assert not voiced & {turn.reply for turn in talk.turns}


def test_lessons_share_the_training():
    shares = [share for share, _ in corpus.lessons(100)]
    assert sum(shares) == pytest.approx(1)
    mixtures = (*(mixture for _, mixture in LESSONS), *(course.mixture for course in COURSES.values()))
    assert {name for mixture in mixtures for name in mixture} == set(corpus.KINDS)


def test_at_home_she_mostly_speaks_behind_her_own_card_and_greeting():
    talks = [corpus.KINDS["at home"](corpus.source(), random.Random(seed)) for seed in range(300)]
    hers = {corpus.VOICE_LINE.format(persona.name): persona for persona in corpus.VOICES.values()}
    own = [talk for talk in talks if talk.card.partition("\n")[0] == hers[talk.card.rpartition("\n")[2]].system_line]
    assert 180 < len(own) < 270
    for talk in own:
        assert talk.greeting in ("", *hers[talk.card.rpartition("\n")[2]].said_first)


def test_the_original_questions_have_their_answers_in_a_voice():
    talks = [talk for talk in corpus.talks(3_000, seed=1) if talk.turns[0].user in corpus.ORIGINAL]
    own = {row.output for rows in corpus.source().voiced.values() for row in rows if row.input in corpus.ORIGINAL}
    told = [talk for talk in talks if talk.turns[0].reply in own]
    assert len(told) > 5
    assert all("语气：" in talk.card for talk in told)


def test_every_way_to_begin_and_every_word_near_a_topic_comes_as_often_as_the_others():
    drawn = corpus.source()
    turns = [turn for topic in drawn.openers for turn in topic.openings]
    words = grammar.shipped_near()
    assert len(drawn.phrases) == sum(len(turn.says) for turn in turns) + sum(
        len(words.get(topic.name, ())) for topic in drawn.openers if len(topic.openings) == 1
    )
    for kind in ("phrase", "alone"):
        talks = [corpus.KINDS[kind](drawn, random.Random(seed)) for seed in range(400)]
        (asked,) = zip(*(talk.turns for talk in talks), strict=True)
        assert all(isinstance(turn, corpus.Asked) and turn.about for turn in asked)
        assert len({turn.about for turn in asked}) > 150
        assert all(bool(turn.reply) == (kind == "phrase") for turn in asked)


def test_what_a_question_seeks_stands_in_the_passage_and_in_the_reply():
    talks = [corpus.KINDS["several facts"](corpus.source(), random.Random(seed)) for seed in range(60)]
    sought = [(talk, place, value) for talk in talks for place, value in talk.sought.items()]
    assert sum(not value for _, _, value in sought) > 20
    for talk, place, value in sought:
        brought = next(turn.brought for turn in talk.turns if turn.brought)
        assert value in brought
        assert value in talk.turns[place].reply
    for kind in ("small talk", "picture", "voices", "near"):
        assert not corpus.KINDS[kind](corpus.source(), random.Random(1)).sought


def test_held_out_prompts_are_taken_from_the_corpus():
    counts = {name: len(measures.held_out(name)) for name in ("small_talk", "passages", "unanswerable", "looking")}
    assert counts == {"small_talk": 120, "passages": 100, "unanswerable": 50, "looking": 100}
    assert all(row["span"] in row["passage"] for row in measures.held_out("passages"))
    assert [len(talk) for talk in measures.held_out("conversations")] == [6] * 40
    assert len(set(measures.questions())) == len(measures.questions())
    kept, dropped = (corpus.Talk((Exchange(said, "多穿点。"),)) for said in ("外面好冷！", "今天好冷！"))
    assert corpus.without([kept, dropped], {"今天好冷。"}) == [kept]
    assert corpus.without([corpus.Talk((Exchange("今天好冷呀？", "多穿点。"),))], {"今天好冷"}) == []


def test_measures_count_what_is_right():
    first = measures.held_out("passages")[0]
    for measure in (measures.spans, measures.attributes):
        assert not any(reply.right for reply in measure(lambda dialogue: (dialogue.brought, True)))
    found, given = measures.figures(lambda dialogue: ("你好呀你好呀你好呀。", False))
    assert (found.prompts, found.ended, found.looped, found.refusals) == (120, 0, 0, 0)
    assert {name: len(replies) for name, replies in given.items()}["pictures"] == 100
    replies = list(measures.spans(lambda dialogue: (first["span"], True)))
    assert replies[0].right
    assert sum(reply.right for reply in replies) < 10
    assert all(reply.right for reply in measures.refusals(lambda dialogue: ("资料里没有写这个。", True)))
    assert not any(reply.right for reply in measures.attributes(lambda dialogue: ("图里看不出来。", True)))


def test_rows_are_only_said_where_a_card_asks_for_their_voice_and_held_out_ones_never():
    """What an adapter is measured on is in no conversation of its base."""
    path = DATA / "dataset.json"
    rows = list(good_rows(read_rows(path), path))
    split = split_rows(rows, Settings.load().seed)
    trained, held = ({rows[place].output for place in places} for places in (split.train, split.held_out))
    said = [(turn.reply, talk.card) for talk in corpus.talks(6_000, seed=3) for turn in talk.turns]
    assert not held & {reply for reply, _ in said}
    cards = [card for reply, card in said if reply in trained]
    assert len(cards) > 30
    marks = [corpus.VOICE_LINE.format(persona.name) for persona in corpus.VOICES.values()]
    assert all(any(mark in card for mark in marks) for card in cards)


# Tokenizer


def test_tokenizer_is_the_same_for_the_same_texts(some_talks: list[corpus.Talk]):
    made = [tokenizer.train(corpus.texts(some_talks)).to_str() for _ in range(2)]
    assert hashlib.sha256(made[0].encode()).digest() == hashlib.sha256(made[1].encode()).digest()


@pytest.mark.parametrize(
    "text",
    [
        "哼，才不会随便告诉你呢！不过《EVA》还算不错吧。",
        "Hello, world!  two  spaces\tand a tab\nline 2  ",
        "颜文字 (｡･ω･｡) と ひらがな カタカナ",
        "emoji 😀👩‍💻🇨🇳 ok",
        "龘靐齉 𠮷野家",
        "一 ，。！？…… 1234567890",
    ],
)
def test_tokenizer_gives_a_text_back(shipped_tokenizer, text: str):
    ids = shipped_tokenizer.encode(text, add_special_tokens=False)
    assert shipped_tokenizer.decode(ids, skip_special_tokens=False) == text


def test_every_common_character_is_one_token(shipped_tokenizer):
    cut = [
        one for one in tokenizer.common_characters() if len(shipped_tokenizer.encode(one, add_special_tokens=False)) > 1
    ]
    assert cut == []
    rows = json.loads((corpus.NEUTRAL.parent / "dataset.json").read_text(encoding="utf-8"))
    said = "".join(row["output"] for row in rows)
    assert len(shipped_tokenizer.encode(said, add_special_tokens=False)) < 1.05 * len(said)


def test_marks_have_the_flags_of_the_real_tokenizer(shipped_tokenizer):
    held = shipped_tokenizer.added_tokens_decoder
    assert {token.content: token.special for token in held.values()} == dict(tokenizer.MARKS)
    assert not any(token.normalized or token.lstrip or token.rstrip for token in held.values())
    assert shipped_tokenizer.pad_token_id == shipped_tokenizer.eos_token_id
    assert shipped_tokenizer.convert_ids_to_tokens(shipped_tokenizer.bos_token_id) == tokenizer.BEGIN


def test_template_writes_what_the_layout_writes(shipped_tokenizer):
    layout = Layout(shipped_tokenizer, "deepseek-r1", "silent")
    dialogue = Dialogue("你是小雪。", history=(Exchange("你好", "你好呀。"),), question="今天吃什么？")
    prompt = layout.prompt(dialogue)
    written = shipped_tokenizer.apply_chat_template(list(prompt.messages), tokenize=False, add_generation_prompt=True)
    assert tuple(shipped_tokenizer.encode(written, add_special_tokens=False)) == prompt.ids


# What ships


def test_shipped_model_was_trained_on_this_layout(shipped_tokenizer):
    said = json.loads((STARTER_LM / "prompt.json").read_text(encoding="utf-8"))
    layout = Layout(shipped_tokenizer, said["format"], said["think"])
    assert said["fingerprint"] == layout.fingerprint(), REMAKE
    front = (STARTER_LM / "README.md").read_text(encoding="utf-8")
    assert f"prompt_layout: {layout.fingerprint()}\n" in front, REMAKE
    assert "license: apache-2.0\n" in front


@pytest.mark.parametrize("persona", Personas().list(), ids=lambda persona: persona.id)
def test_every_persona_has_an_adapter_that_fits_the_shipped_base(persona, shipped_tokenizer):
    folder = adapters.ADAPTERS / persona.id
    remake = "run `python -m anime_ai.starter --only adapters`"
    check_adapter(folder, find_base(STARTER, Settings.load()))
    notes = read_card(folder)
    layout = Layout(shipped_tokenizer, notes["prompt_format"], notes["think"])
    assert notes["layout"] == layout.fingerprint(), remake
    assert notes["system_line"] == persona.system_line, remake
    assert notes["persona"] == persona.name
    assert notes["base_fingerprint"]
    assert {file.suffix for file in folder.iterdir()} <= {".safetensors", ".json", ".md"}
    assert all(file.stat().st_size < MOST for file in folder.iterdir())


def test_shipped_files_are_small_and_safe():
    files = [file for file in STARTER_LM.iterdir() if file.is_file()]
    assert {file.suffix for file in files} <= {".safetensors", ".json", ".jinja", ".md"}
    assert all(file.stat().st_size < MOST for file in files)


def test_shipped_model_is_a_small_tied_qwen2_in_bf16(shipped_model, shipped_tokenizer):
    config = json.loads((STARTER_LM / "config.json").read_text(encoding="utf-8"))
    assert (config["model_type"], config["dtype"], config["tie_word_embeddings"]) == ("qwen2", "bfloat16", True)
    assert 4_000_000 <= sum(weight.numel() for weight in shipped_model.parameters()) <= 6_000_000
    assert config["vocab_size"] == len(shipped_tokenizer)


@pytest.mark.parametrize("question", ["你好！", "我好累啊。", "今天吃什么好？", "法国的首都是哪里？"])
def test_shipped_model_ends_its_reply(question: str):
    text, ended = card.greedy(STARTER_LM)(Dialogue(question=question))
    assert ended
    assert 2 <= len(text) <= 60
    assert any("\u4e00" <= character <= "\u9fff" for character in text)


def test_model_card_names_the_command_and_the_limits():
    text = (Path(STARTER_LM) / "README.md").read_text(encoding="utf-8")
    assert "python -m anime_ai.starter --seed" in text
    assert "What it cannot do" in text
