"""Where an answer comes from: by heart, learned, or her own; the rows that show it, and who may see them."""

from __future__ import annotations

import pytest
from ui_fakes import OWNER, STRANGER, VISITOR

from anime_ai.chat.provenance import LEARNED_RUN, trace
from anime_ai.config import DATA
from anime_ai.dataset.files import read_rows
from anime_ai.dataset.rows import Row
from anime_ai.errors import AccessError
from anime_ai.studio import Studio
from anime_ai.training.evaluation import COPIED
from anime_ai.ui.origin import Origins, origin_of

ROWS = {
    "a": Row("今天下雨吗？", "伞在门口，别忘了带，淋湿了我可不管你。", "傲娇"),
    "b": Row("早", "早上好。", "傲娇"),
    "c": Row(
        "晚饭吃什么？", "冰箱里还有半颗白菜，你自己看着办吧。", "傲娇", history=(("在吗", "窗台上的猫先看见你的。"),)
    ),
}


def test_a_copied_answer_is_known_by_heart_and_shows_the_run_as_it_was_said() -> None:
    found = trace("哼，伞在门口，别忘了带，淋湿了我可不管！", ROWS)
    assert found.verdict == "memorised"
    assert found.run == "伞在门口，别忘了带，淋湿了我可不管"
    assert "哼，伞在门口，别忘了带，淋湿了我可不管！"[found.start : found.end] == found.run
    assert found.sources[0].row_id == "a"
    assert found.sources[0].overlap > 0.8


def test_punctuation_and_width_make_no_difference_and_earlier_turns_count() -> None:
    found = trace("窗台上的猫 先看见你的", ROWS)
    assert (found.verdict, found.sources[0].row_id) == ("memorised", "c")


def test_verdicts_at_their_bounds() -> None:
    said = "".join(chr(0x4E00 + place) for place in range(40))
    rows = {"x": Row("问", said, "傲娇")}
    other = "".join(chr(0x6E00 + place) for place in range(60))
    assert trace(said[:COPIED] + other, rows).verdict == "memorised"
    assert trace(said[: COPIED - 1] + other, rows).verdict == "learned"
    assert trace(said[:LEARNED_RUN] + other, rows).verdict == "learned"
    found = trace(said[: LEARNED_RUN - 1] + other, rows)
    assert (found.verdict, len(found.run)) == ("own", LEARNED_RUN - 1)


def test_a_common_greeting_is_nobodys_copy() -> None:
    assert trace("早上好。", ROWS).verdict != "memorised"


def test_nothing_to_compare_and_nothing_said() -> None:
    assert trace("你好", {}).looked == 0
    for empty in ("", "……", " \n"):
        found = trace(empty, ROWS)
        assert (found.verdict, found.run, found.sources) == ("own", "", ())


def test_rows_written_apart_are_not_taken_for_copies() -> None:
    """The bounds come from this: what one row says, told against the others of the same voice."""
    rows = [row for row in read_rows(DATA / "dataset.json").rows if row.persona == "三无"]
    kept = {str(place): row for place, row in enumerate(rows[60:])}
    verdicts = [trace(row.output, kept).verdict for row in rows[:60]]
    assert verdicts.count("memorised") == 0
    assert verdicts.count("own") >= 57
    assert trace(rows[60].output, kept).verdict == "memorised"


def answered(studio: Studio, person: str, answer: str) -> str:
    talk = studio.conversations.start(person, "傲娇")
    studio.chat.answers.append(answer)  # type: ignore[attr-defined]
    (*_, last) = studio.chat.reply(person, talk.id, "在吗")
    return str(last.message_id)


def test_the_owner_sees_rows_and_opens_one_a_visitor_the_verdict_alone(studio: Studio) -> None:
    info = studio.datasets.list()[0]
    row = next(one for one in studio.datasets.all(info.id) if one.row.persona == "傲娇" and len(one.row.output) > 20)
    told = origin_of(studio, OWNER, answered(studio, OWNER.id, row.row.output))
    assert "背下来的" in told
    assert f'data-source-row="{row.id}"' in told
    assert "<mark>" in told
    mine = answered(studio, VISITOR.id, row.row.output)
    told = origin_of(studio, VISITOR, mine)
    assert "背下来的" in told
    assert "data-source-row" not in told
    assert row.row.input not in told
    with pytest.raises(AccessError):
        origin_of(studio, STRANGER, mine)
    assert studio.datasets.home(row.id) == info.id


def test_a_row_that_is_gone_is_told_and_cannot_be_opened(studio: Studio) -> None:
    info = studio.datasets.list()[0]
    row = next(one for one in studio.datasets.all(info.id) if one.row.persona == "傲娇" and len(one.row.output) > 20)
    snapshot = studio.snapshots.of_now(info.id, "那时")
    assert studio.snapshots.held(snapshot.id)[row.id] == row.row
    studio.datasets.delete(row.id, row.version)
    told = origin_of(studio, OWNER, answered(studio, OWNER.id, row.row.output))
    assert f'data-source-row="{row.id}"' not in told


def test_markup_in_an_answer_and_in_a_row_stays_text(studio: Studio) -> None:
    evil = "<img src=x onerror=alert(1)>这是一段很长的回答文字"
    studio.datasets.add(studio.datasets.list()[0].id, Row("<b>问</b>", evil, "傲娇"))
    told = origin_of(studio, OWNER, answered(studio, OWNER.id, evil))
    assert "<img" not in told
    assert "<b>问" not in told
    assert "&lt;<mark>img" in told


def test_a_source_is_shown_in_its_dataset(studio: Studio) -> None:
    from ui_fakes import built

    from anime_ai.ui.dataset_tab import DatasetTab

    assert "open_source" in {block.fn.__name__ for block in built(studio).fns.values()}
    row = studio.datasets.all(studio.datasets.list()[0].id)[0]
    origins = Origins(studio)
    origins.editing = DatasetTab(studio).editing

    class Happened:
        _data = {"row": row.id}

    shown = origins.open_source(OWNER, Happened())  # type: ignore[arg-type]
    assert row.id in str(shown)
