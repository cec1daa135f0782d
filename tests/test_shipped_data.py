"""The dialogues and character cards under `data/`: their shape, their variety, and what must never stand in them."""

import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

DATA = Path(__file__).resolve().parents[1] / "data"
DATASET = DATA / "dataset.json"
NEUTRAL = DATA / "neutral.json"
SMALLEST = {"傲娇": 320, "活泼": 280, "三无": 150, "温柔": 150}
CARDS = {"tsundere": "傲娇", "genki": "活泼", "kuudere": "三无", "gentle": "温柔"}
ORIGINAL = [
    {"input": "你喜欢什么动漫？", "output": "哼，才不会随便告诉你呢！不过《EVA》还算不错吧。", "persona": "傲娇"},
    {"input": "可以帮我写作业吗？", "output": "想让我帮你？哼，自己努力一点啦，我可不是你的保姆！", "persona": "傲娇"},
]
# Control tokens would break the prompt; other products' names would teach her to be somebody else.
FORBIDDEN = ["<|", "|>", "<｜", "｜>", "<think>", "</think>", "通义", "千问", "qwen", "chatgpt", "openai", "deepseek"]
FORBIDDEN += ["作为一个ai", "作为ai", "语言模型", "人工智能助手", "http://", "https://", "\ufffd", "\ufeff"]
CARD_TEXTS = ["name", "description", "personality", "scenario", "first_mes", "mes_example", "creator_notes"]
CARD_TEXTS += ["system_prompt", "post_history_instructions", "creator", "character_version"]
ENTRY_FIELDS = {"keys": list, "content": str, "extensions": dict, "enabled": bool, "insertion_order": int}
ENTRY_FIELDS |= {"use_regex": bool}


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def rows_of(persona: str) -> list[dict[str, Any]]:
    return [row for row in load(DATASET) if row["persona"] == persona] if persona else load(NEUTRAL)


def trigrams(text: str) -> frozenset[str]:
    return frozenset(text[i : i + 3] for i in range(len(text) - 2))


def share(rows: list[dict[str, Any]], field: str) -> float:
    return sum(field in row for row in rows) / len(rows)


def card(name: str) -> dict[str, Any]:
    return load(DATA / "personas" / f"{name}.json")


@pytest.mark.parametrize("path", [DATASET, NEUTRAL], ids=lambda path: path.name)
def test_rows_have_the_documented_shape(path: Path) -> None:
    personas = set(SMALLEST) if path == DATASET else {""}
    for number, row in enumerate(load(path)):
        assert {"input", "output", "persona"} <= set(row) <= {"input", "output", "persona", "history", "inner"}, number
        assert row["persona"] in personas, number
        assert all(isinstance(row[field], str) for field in row if field != "history"), number
        shortest = 8 if row["persona"] else 4
        assert 3 <= len(row["input"]) <= 25, row
        assert shortest <= len(row["output"]) <= 60, row
        history = row.get("history", [["x", "x"]])
        assert history, number
        for turn in history:
            assert isinstance(turn, list), number
            assert len(turn) == 2, number
            assert all(isinstance(text, str) and text for text in turn), number
        texts = [row["input"], row["output"], row.get("inner", "x"), *(text for turn in history for text in turn)]
        assert all(text and text == text.strip() and "\n" not in text for text in texts), number


@pytest.mark.parametrize("path", [DATASET, NEUTRAL], ids=lambda path: path.name)
def test_one_row_stands_on_one_line(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert (lines[0], lines[-1]) == ("[", "]")
    assert [json.loads(line.removesuffix(",")) for line in lines[1:-1]] == load(path)


def test_the_original_rows_come_first() -> None:
    assert load(DATASET)[:2] == ORIGINAL


@pytest.mark.parametrize("persona", SMALLEST)
def test_each_persona_has_rows_histories_and_inner_voices(persona: str) -> None:
    rows = rows_of(persona)
    assert len(rows) >= SMALLEST[persona]
    assert share(rows, "history") >= 0.14  # 0.15 holds for the whole set, below
    assert share(rows, "inner") >= 0.12


def test_the_whole_set_has_enough_histories_and_shared_questions() -> None:
    rows = load(DATASET)
    assert share(rows, "history") >= 0.15
    asked = Counter(question for question, _ in {(row["input"], row["persona"]) for row in rows})
    assert sum(count == len(SMALLEST) for count in asked.values()) >= 30


def test_neutral_rows_are_many_and_carry_no_character() -> None:
    rows = rows_of("")
    assert len(rows) >= 250
    assert sum("history" in row for row in rows) >= 30
    assert not any("inner" in row for row in rows)
    names = [card(name)["data"]["name"] for name in CARDS]
    spoken = NEUTRAL.read_text(encoding="utf-8")
    assert not any(word in spoken for word in [*names, "哼", "笨蛋", "……", "——"])


@pytest.mark.parametrize("persona", [*SMALLEST, ""], ids=[*CARDS, "neutral"])
def test_answers_are_varied(persona: str) -> None:
    rows = rows_of(persona)
    answers = [row["output"] for row in rows]
    assert max(Counter(answer[:4] for answer in answers).values()) <= 0.04 * len(rows)
    assert len({(row["input"], json.dumps(row.get("history"))) for row in rows}) == len(rows)
    pairs = list(combinations([trigrams(answer) for answer in answers], 2))
    assert not any(len(a & b) > 0.6 * len(a | b) for a, b in pairs)


def test_the_voices_keep_their_marks() -> None:
    openings = [row["output"].startswith("哼") for row in rows_of("傲娇")]
    assert sum(openings) < 0.1 * len(openings)
    terse = rows_of("三无")
    assert not any("！" in row["output"] or "～" in row["output"] for row in terse)
    lengths = {persona: fmean(len(row["output"]) for row in rows_of(persona)) for persona in SMALLEST}
    assert min(lengths, key=lambda persona: lengths[persona]) == "三无"
    bubbling = rows_of("活泼")
    assert sum("！" in row["output"] for row in bubbling) > 0.9 * len(bubbling)


@pytest.mark.parametrize(
    "path", [DATASET, NEUTRAL, *(DATA / "personas" / f"{name}.json" for name in CARDS)], ids=lambda path: path.name
)
def test_nothing_forbidden_is_said(path: Path) -> None:
    spoken = path.read_text(encoding="utf-8").lower()
    assert [word for word in FORBIDDEN if word in spoken] == []


def test_every_card_is_known() -> None:
    assert {path.stem for path in (DATA / "personas").glob("*.json")} == set(CARDS)


@pytest.mark.parametrize("name", CARDS)
def test_cards_follow_character_card_v3(name: str) -> None:
    whole = card(name)
    assert (whole["spec"], whole["spec_version"]) == ("chara_card_v3", "3.0")
    data = whole["data"]
    assert all(isinstance(data[field], str) and data[field] for field in CARD_TEXTS)
    assert (data["creator"], data["character_version"]) == ("Anime AI Studio", "1.0")
    assert "Apache-2.0" in data["creator_notes"]
    assert len({data["first_mes"], *data["alternate_greetings"]}) == 3
    assert data["group_only_greetings"] == []
    assert data["tags"]
    assert all(isinstance(tag, str) and tag for tag in data["tags"])
    assert all(mark in data["mes_example"] for mark in ["<START>", "{{user}}:", "{{char}}:"])


@pytest.mark.parametrize("name", CARDS)
def test_card_lorebooks_are_well_formed(name: str) -> None:
    book = card(name)["data"]["character_book"]
    assert isinstance(book["extensions"], dict)
    assert 3 <= len(book["entries"]) <= 5
    for entry in book["entries"]:
        assert all(type(entry[field]) is kind for field, kind in ENTRY_FIELDS.items()), entry
        assert entry["keys"], entry
        assert all(isinstance(key, str) and len(key) >= 2 for key in entry["keys"]), entry
        assert entry["content"], entry


@pytest.mark.parametrize(("name", "persona"), CARDS.items())
def test_cards_name_their_persona_and_system_line(name: str, persona: str) -> None:
    data = card(name)["data"]
    ours = data["extensions"]["anime_ai"]
    assert (ours["id"], ours["persona"]) == (name, persona)
    assert 15 <= len(ours["system_line"]) <= 40
    assert data["name"] in ours["system_line"]
    assert persona in ours["system_line"]
    assert ours["differs"]
    assert len({card(other)["data"]["extensions"]["anime_ai"]["differs"] for other in CARDS}) == len(CARDS)


@pytest.mark.parametrize(("name", "persona"), CARDS.items())
def test_the_rows_agree_with_the_card(name: str, persona: str) -> None:
    data = card(name)["data"]
    replies = {row["input"]: row["output"] for row in rows_of(persona)}
    assert data["name"] in replies["你叫什么名字？"]
    title = replies["你喜欢什么动漫？"].partition("《")[2].partition("》")[0]
    assert title
    assert f"《{title}》" in data["description"]
    others = [card(other)["data"]["name"] for other in CARDS if other != name]
    assert not any(other in text for other in others for text in replies.values())
