"""Chats, pasted text, stories and subtitles: who speaks, and the rows of what she answers."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from anime_ai.dataset.formats import Note
from anime_ai.dataset.intake import Choices, look, read
from anime_ai.dataset.messengers import is_messenger
from anime_ai.dataset.rows import Problem, Row
from anime_ai.dataset.speakers import UNKNOWN, is_chat, read_script, said_by, script_rows, subtitle_kind
from anime_ai.dataset.stories import story
from anime_ai.errors import DatasetError
from anime_ai.texts import LANGUAGES


def said(text: str) -> list[tuple[str, str]]:
    return [(line.speaker, line.text) for line in read_script(text).lines]


def notes_of(content: bytes, choices: Choices | None = None) -> dict[str, tuple[int, ...]]:
    found = read(content, "x", choices).notes
    for note in found:
        assert len({note.say(language) for language in LANGUAGES}) == len(LANGUAGES)
    return {note.key: note.rows for note in found}


# Pasted text


@pytest.mark.parametrize("colon", ["：", ":", " : ", ": "])
def test_pasted_text_with_any_two_names(colon: str) -> None:
    for user, her in (("A", "B"), ("小明", "雪见"), ("Mary Ann", "初音ミク"), ("用户", "她")):
        text = f"{user}{colon}在吗\n{her}{colon}哼，在。\n\n{user}{colon}冷吗\n{her}{colon}不冷。\n"
        reading = read(text.encode(), "粘贴的文字")
        assert reading.format == "chat"
        assert reading.rows == (Row("冷吗", "不冷。", her, (("在吗", "哼，在。"),)),)
        each = read(text.encode(), "x", Choices(each_answer=True, persona="傲娇"))
        assert each.rows == (Row("在吗", "哼，在。", "傲娇"), Row("冷吗", "不冷。", "傲娇", (("在吗", "哼，在。"),)))
        preview = look(text.encode(), "x")
        assert (preview.speakers, preview.her, preview.count) == (((user, 2), (her, 2)), her, 4)
        other = read(text.encode(), "x", Choices(her=user))
        assert other.rows == (Row("哼，在。", "冷吗", user),)


def test_lines_without_a_name_go_on_and_times_are_no_names() -> None:
    text = "[12:00] 小明：一\n二\n\n三\n[12:01] 雪见：四\n2024-01-01 12:02:03 小明：https://a.b/c:d\n雪见：五：六\n雪见：七"
    assert said(text) == [
        ("小明", "一\n二\n\n三"),
        ("雪见", "四"),
        ("小明", "https://a.b/c:d"),
        ("雪见", "五：六"),
        ("雪见", "七"),
    ]
    (row,) = read(text.encode(), "x").rows
    assert row.output == "五：六\n七"
    assert said_by("https://example.org") is None
    assert said_by("12:30") is None
    assert said_by("她说，今天：好") is None


QQ = """消息记录（此消息记录为文本格式，不支持重新导入）

================================================================
消息对象:雪见
================================================================

2024-01-02 21:30:05 小明(123456789)
在吗

2024-01-02 21:30:41 【群主】雪见<yuki@example.org>
哼，12:00 的约你迟到了。
[表情]

2024-01-03 08:00:00 小明(123456789)
[图片]早
2024-01-03 8:00:09 雪见(987654321)
……早。
"""


@pytest.mark.parametrize(
    "text",
    [
        "小明 2024/1/2 21:30:05\n在吗\n\n雪见 2024/1/2 21:30:41\n哼，在。\n两行。\n",
        "小明 21:30:05\n在吗\n雪见 21:30:41\n哼，在。\n两行。\n",
        "小明 2024年1月2日 下午9:30\n在吗\n雪见 2024年1月2日 下午9:31\n哼，在。\n两行。\n",
        "2024-01-02 21:30 小明\n在吗\n2024-01-02 21:31 雪见\n哼，在。\n两行。\n",
    ],
)
def test_a_chat_copied_from_a_messenger(text: str) -> None:
    assert read(text.encode(), "x").rows == (Row("在吗", "哼，在。\n两行。", "雪见"),)


def test_an_export_of_a_messenger_has_a_head_accounts_pictures_and_days() -> None:
    reading = read(QQ.encode(), "x")
    assert reading.rows == (Row("在吗", "哼，12:00 的约你迟到了。", "雪见"), Row("早", "……早。", "雪见"))
    assert {note.key: note.rows for note in reading.notes} == {"unnamed": (1, 3, 4, 5)}
    assert not is_messenger("我们约在 12:00\n不见不散\n我们约在 13:00\n好\n")
    assert not is_messenger("会议 2024/1/2 12:00\n讲座 2024/1/3 12:00\n")


def test_a_break_starts_another_conversation_and_what_is_in_no_row_is_said() -> None:
    text = "雪见：早\n小明：早\n雪见：走吧\n小明：好\n---\n小明：在吗\n雪见：在\n"
    reading = read(text.encode(), "x", Choices(her="雪见"))
    assert reading.rows == (Row("早", "走吧", "雪见"), Row("在吗", "在", "雪见"))
    assert notes_of(text.encode(), Choices(her="雪见")) == {"speaks_first": (1,), "unanswered": (4,)}
    assert reading.problems == ()


def test_empty_lines_of_speakers_are_problems() -> None:
    reading = read("A：在吗\nB：\nA：在吗\nB：在\n".encode(), "x")
    assert reading.problems == (Problem(2, "B", "blank"),)
    assert reading.rows == (Row("在吗\n在吗", "在", "B"),)


def test_others_may_be_chosen() -> None:
    text = "小明：一\n雪见：二\n老师：三\n雪见：四\n"
    assert read(text.encode(), "x", Choices(her="雪见", others=("小明",))).rows == (Row("一", "二\n四", "雪见"),)
    with pytest.raises(DatasetError) as caught:
        read(text.encode(), "x", Choices(her="小红"))
    assert caught.value.key == "dataset.no_speaker"
    assert "雪见" in caught.value.say("zh")


def test_a_table_with_colons_is_a_table_and_a_chat_with_commas_is_a_chat() -> None:
    assert read(b"input,output\nA: a,B: b\nA: c,B: d\n", "x").format == "rows"
    assert read(b"A: hi, there\nB: hello, you\nA: well, well\nB: yes, so\n", "x").format == "chat"
    assert not is_chat("标题：一\n正文一\n正文二\n正文三\n")
    assert not is_chat("")


def test_long_answers_of_many_paragraphs_are_still_a_chat() -> None:
    turn = "小明：在吗\n雪见：哼。\n\n她转过头去。\n\n第三段。\n\n第四段。\n"
    (row,) = read((turn * 3).encode(), "x").rows
    assert len(row.history) == 2
    assert row.output == "哼。\n\n她转过头去。\n\n第三段。\n\n第四段。"


def test_what_a_text_is_may_be_said() -> None:
    text = "开场\n甲：一,二\n这是乙\n乙：三,四\n"
    with pytest.raises(DatasetError):
        read(text.encode(), "x")
    assert read(text.encode(), "x", Choices(kind="chat")).rows == (Row("一,二\n这是乙", "三,四", "乙"),)
    assert notes_of(text.encode(), Choices(kind="chat")) == {"unnamed": (1,)}
    quoted = "小明：“在吗？”\n雪见：“在。”\n小明：“冷吗？”\n雪见：“不冷。”\n旁白。\n"
    assert read(quoted.encode(), "x", Choices(kind="story", her="雪见")).rows[0].output == "在。"
    assert read(quoted.encode(), "x", Choices(kind="chat")).rows[0].output == "“不冷。”\n旁白。"
    for kind in ("chat", "story", "subtitles"):
        with pytest.raises(DatasetError) as caught:
            read(b"nothing", "x", Choices(kind=kind))
        assert caught.value.key == "dataset.unknown_format"


# SillyTavern


HEAD = {"user_name": "小明", "character_name": "雪见", "create_date": "2024-1-1", "chat_metadata": {}}


def message(name: str, text: Any, is_user: bool, **more: Any) -> dict[str, Any]:
    return {"name": name, "is_user": is_user, "is_system": False, "mes": text, **more}


def tavern_file(*messages: Any, head: Any = HEAD) -> bytes:
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in (head, *messages))


def test_a_tavern_chat() -> None:
    content = tavern_file(
        message("雪见", "哼，你来了。", False, swipes=["哼，你来了。"]),
        message("小明", "在吗", True),
        message("雪见", "不在。", False, swipes=["在。", "不在。"], swipe_id=1),
        message("System", "note", False, is_system=True),
        message("小明", "冷吗", True),
        message("雪见", "<|im_start|>不冷。", False),
        message("小明", "走了", True),
    )
    reading = read(content, "chat.txt")
    assert reading.format == "tavern"
    assert reading.rows == (Row("冷吗", "<|im_start|>不冷。", "雪见", (("在吗", "不在。"),)),)
    assert notes_of(content) == {"hidden": (5,), "swipes": (4,), "speaks_first": (2,), "unanswered": (8,)}
    assert reading.problems == ()
    each = read(content, "x", Choices(each_answer=True, persona="傲娇"))
    assert [(row.input, row.output, row.persona) for row in each.rows][0] == ("在吗", "不在。", "傲娇")
    assert len(each.rows) == 2
    preview = look(content, "x")
    assert (preview.format, preview.container, preview.her, preview.count) == ("tavern", "jsonl", "雪见", 6)


def test_a_tavern_chat_with_broken_messages() -> None:
    content = tavern_file(
        message("小明", "在吗", True),
        message("雪见", None, False),
        message("雪见", " ", False),
        5,
        message("雪见", "在", False),
    )
    content += b'{"name": "\n'
    reading = read(content, "x")
    assert reading.rows == (Row("在吗", "在", "雪见"),)
    assert sorted((one.row, one.key) for one in reading.problems) == [
        (3, "not_text"),
        (4, "blank"),
        (5, "not_object"),
        (7, "bad_line"),
    ]


def test_a_group_chat_and_a_chat_without_names() -> None:
    content = tavern_file(
        message("小明", "在吗", True),
        message("雪见", "在", False),
        message("小春", "我也在", False),
        head={"chat_metadata": {}},
    )
    assert read(content, "x", Choices(her="小春")).rows == (Row("在吗\n在", "我也在", "小春"),)
    named = tavern_file({"is_user": True, "mes": "a"}, {"is_user": False, "mes": "b"})
    assert read(named, "x").rows == (Row("a", "b", "雪见"),)


# Stories


STORY = """第一章 初遇

清晨的阳光洒进教室。小明说：“早上好，雪见。”
“哼，谁要跟你说早上好。”雪见笑道。
小明红着脸，小声说：“今天放学一起走吗？”
“才、才不要，”雪见别过脸去，低声说，“不过……要是顺路的话，也不是不行。”
“那就说定了！”
他翻开那本“红楼梦”看了起来。
林老师推门进来，问道：“作业都写完了吗？”
「写完了。」雪见说。
雪见：“老师再见。”
“再见。”她轻声说道。

第二章 黄昏

小明开心地喊道：“走吧！”
“来了。”雪见对小明说。
"""


def test_a_story_says_who_speaks_where_it_can_be_told() -> None:
    assert said(STORY) == [
        ("小明", "早上好，雪见。"),
        ("雪见", "哼，谁要跟你说早上好。"),
        ("小明", "今天放学一起走吗？"),
        ("雪见", "才、才不要，"),
        ("雪见", "不过……要是顺路的话，也不是不行。"),
        (UNKNOWN, "那就说定了！"),
        ("林老师", "作业都写完了吗？"),
        ("雪见", "写完了。"),
        ("雪见", "老师再见。"),
        (UNKNOWN, "再见。"),
        ("小明", "走吧！"),
        ("雪见", "来了。"),
    ]
    preview = look(STORY.encode(), "x")
    assert preview.format == "story"
    assert preview.her == "雪见"
    assert dict(preview.speakers)[UNKNOWN] == 2


def test_the_rows_of_a_story_are_drafts_of_each_answer() -> None:
    reading = read(STORY.encode(), "x", Choices(her="雪见"))
    assert all(row.draft and row.persona == "雪见" for row in reading.rows)
    first, second, third, fourth = reading.rows
    assert (first.input, first.output, first.history) == ("早上好，雪见。", "哼，谁要跟你说早上好。", ())
    assert second.input == "今天放学一起走吗？"
    assert second.output == "才、才不要，\n不过……要是顺路的话，也不是不行。"
    assert second.history == ((first.input, first.output),)
    assert third.input == "那就说定了！\n作业都写完了吗？", "the unknown one is somebody else"
    assert (fourth.input, fourth.output, fourth.history) == ("走吧！", "来了。", ()), "another chapter"
    assert {"guessed", "unanswered"} <= notes_of(STORY.encode(), Choices(her="雪见")).keys()
    others = read(STORY.encode(), "x", Choices(her="雪见", others=("小明",))).rows
    assert [row.input for row in others] == ["早上好，雪见。", "今天放学一起走吗？", "走吧！"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("小明说：“你好。”", ["小明"]),
        ("“你好。”，雪见笑道。", ["雪见"]),
        ("“你好。”雪见说：“再见。”", ["雪见", "雪见"]),
        ("小明说：“你好。”小红问：“谁？”", ["小明", "小红"]),
        ("她说：“你好。”", [UNKNOWN]),
        ("“你好。”有人喊道。", [UNKNOWN]),
        ("「おはよう」と雪は言った。", ["雪"]),
        ("「元気？」太郎は笑って答えた。", ["太郎"]),
        ("“Hello,” said Alice.", ["Alice"]),
        ('Bob asked, "Why?"', ["Bob"]),
        ("小明說：「你好。」", ["小明"]),
        ("“你好。”\n“你好。”", [UNKNOWN, UNKNOWN]),
        ("雪见「もう帰る」\n太郎「待って」", ["雪见", "太郎"]),
        ("小明说：“一。”\n“二。”小明挠了挠头，“三。”", ["小明", "小明", "小明"]),
        ("小明说：“一。”\n“喂！”小明听到有人喊他。", ["小明", UNKNOWN]),
        ("小明说：“一。”\n小明站在门口，犹豫很久，终于开口：“二。”", ["小明", "小明"]),
        ("林老师推门进来，问道：“谁？”", ["林老师"]),
        ("小明问：“一，\n二，\n三。”", ["小明"]),
        ("小明问：“一。\n“二。”", ["小明", "小明"]),
        ("“一”没有关上\n“二。", [UNKNOWN, UNKNOWN]),
    ],
)
def test_the_words_beside_a_quote(text: str, expected: list[str]) -> None:
    assert [line.speaker for line in story(text).lines] == expected


def test_a_quote_of_several_paragraphs_is_one() -> None:
    (line,) = story("小明问：“一，\n二，\n三。”走了").lines
    assert line.text == "一，\n二，\n三。"
    assert [line.text for line in story("“没有关上\n旁白一句\n“另一句。”").lines] == ["没有关上", "另一句。"]


def test_a_word_in_quotes_is_no_speech() -> None:
    assert story("那本“红楼梦”很旧。").lines == ()
    assert [line.text for line in story("他说“走”。").lines] == ["走"]


def test_a_story_of_which_nobody_can_be_told_is_shown_and_then_asked_about() -> None:
    text = "“你好。”\n“你好。”\n".encode()
    preview = look(text, "x")
    assert (preview.speakers, preview.her, preview.rows) == (((UNKNOWN, 2),), "", ())
    with pytest.raises(DatasetError) as caught:
        read(text, "x")
    assert caught.value.key == "dataset.choose_speaker"


def test_a_book_is_read_in_a_moment_and_a_library_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(read_script(STORY * 500).lines) == 500 * 12
    monkeypatch.setattr("anime_ai.dataset.speakers.MOST_CHARACTERS", 100)
    with pytest.raises(DatasetError) as caught:
        read_script(STORY)
    assert caught.value.key == "dataset.text_too_long"
    with pytest.raises(DatasetError) as caught:
        read_script("没有人说话的一段文字。")
    assert caught.value.key == "dataset.unknown_format"


# Subtitles


SRT = """1
00:00:01,000 --> 00:00:02,000
小明：在吗

2
00:00:02,500 --> 00:00:03,000
（雪见）哼，
在。

3
00:01:30,000 --> 00:01:31,000
谁？

4
00:01:32,000 --> 00:01:33,000
雪见：是我。
"""
ASS = """[Script Info]
ScriptType: v4.00+

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:01.00,0:00:02.00,Default,小明,0,0,0,,{\\b1}在吗{\\b0}
Comment: 0,0:00:01.00,0:00:02.00,Default,小明,0,0,0,,note
Dialogue: 0,0:00:02.00,0:00:03.00,Default,雪见,0,0,0,,哼，\\N在。
"""
VTT = """WEBVTT

00:01.000 --> 00:02.000
<v 小明>在吗</v>

00:02.000 --> 00:03.000
<v.loud 雪见>哼，在。</v>
"""


@pytest.mark.parametrize(("text", "kind"), [(SRT, "srt"), (ASS, "ass"), (VTT, "vtt")])
def test_subtitles(text: str, kind: str) -> None:
    assert subtitle_kind(text) == kind
    for content in (text.encode(), text.replace("\n", "\r\n").encode("utf-8-sig"), text.encode("utf-16")):
        reading = read(content, "x.txt", Choices(her="雪见"))
        assert reading.format == "subtitles"
        row = reading.rows[0]
        assert (row.input, row.output.replace(" ", ""), row.persona, row.draft) == ("在吗", "哼，在。", "雪见", True)


def test_a_pause_ends_a_scene_and_who_is_not_named_is_unknown() -> None:
    first, second = read(SRT.encode(), "x", Choices(her="雪见")).rows
    assert (second.input, second.output, second.history) == ("谁？", "是我。", ())
    assert dict(look(SRT.encode(), "x").speakers) == {"小明": 1, "雪见": 2, UNKNOWN: 1}
    assert first.history == ()


def test_broken_subtitles_are_refused() -> None:
    for text in ("WEBVTT\n", "[Script Info]\n"):
        with pytest.raises(DatasetError) as caught:
            read(text.encode(), "x.srt")
        assert caught.value.key in ("dataset.empty", "dataset.broken_file")


# Any script


def test_every_line_is_in_a_row_or_in_a_note() -> None:
    rng = random.Random(2)
    for _ in range(300):
        count = rng.randint(2, 25)
        lines = [(rng.choice(("甲", "乙", "丙")), f"第{number}句") for number in range(count)]
        script = read_script("甲：开头\n乙：开头二\n" + "".join(f"{name}：{text}\n" for name, text in lines))
        rows, problems, notes = script_rows(script, "乙")
        assert problems == ()
        kept = [one for row in rows for pair in (*row.history, (row.input, row.output)) for one in pair]
        whole = "\n".join(kept).split("\n")
        spoken = [line.text for line in script.lines]
        left = sum(note.key == "unanswered" for note in notes)
        assert whole == spoken[: len(whole)]
        trailing = [line.speaker for line in script.lines[len(whole) :]]
        assert "乙" not in trailing
        assert bool(trailing) == bool(left)
        each, _, _ = script_rows(script, "乙", each_answer=True)
        assert each[-1] == rows[0]
        assert len(each) == len(rows[0].history) + 1


def test_nothing_is_noted_where_nothing_was_left_out() -> None:
    script = read_script("A：a\nB：b\nA：c\nB：d")
    assert script_rows(script, "B")[2] == ()
    assert script_rows(script, "A")[2] == (Note("speaks_first", rows=(1,)), Note("unanswered", rows=(4,)))
