"""Feedback: what becomes a row, what a pair, whose it is, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anime_ai.chat.conversations import Conversations
from anime_ai.chat.feedback import NAME, SOURCE, VISITORS, Feedback, Said
from anime_ai.config import OWNER
from anime_ai.dataset.rows import Row
from anime_ai.dataset.store import Datasets
from anime_ai.errors import AccessError, AnimeAIError
from anime_ai.storage import Database
from anime_ai.ui.whence import whence

META = {"adapter": "run:1", "adapter_sha256": "ab" * 32, "base": "starter", "sampling": {"seed": 7}, "done": True}


@pytest.fixture
def feedback(tmp_path: Path) -> Iterator[Feedback]:
    with Database.open(tmp_path / "studio.db") as database:
        yield Feedback(database, Conversations(database), Datasets(database))


def talk(feedback: Feedback, person: str = OWNER) -> tuple[str, list[str]]:
    """A conversation, and the ids of two answers to its second question."""
    conversations = feedback.conversations
    opened = conversations.start(person, "傲娇", ["来了？"])
    for role, said in (("user", "早"), ("assistant", "早什么早。"), ("user", "吃了吗")):
        conversations.append(person, opened.id, role, said)
    asked = conversations.get(person, opened.id).messages[-1].id
    answers = [
        conversations.append(person, opened.id, "assistant", said, meta=META, behind=asked).id
        for said in ("吃了。", "要你管！")
    ]
    return opened.id, answers


def rows(feedback: Feedback) -> list[Row]:
    return feedback.datasets.rows(feedback.datasets.find(NAME).id)


def test_a_liked_answer_is_a_row_with_what_came_before(feedback: Feedback) -> None:
    _, (_, second) = talk(feedback)
    feedback.judge(OWNER, second, "up")
    assert rows(feedback) == [Row("吃了吗", "要你管！", "傲娇", (("早", "早什么早。"),), tags=("点赞",))]
    (stored,) = feedback.datasets.all(feedback.datasets.find(NAME).id)
    assert stored.source == SOURCE
    kept = feedback.provenance(stored.id)
    assert (kept["prompt"], kept["adapter"], kept["adapter_sha256"], kept["seed"]) == (
        "吃了吗",
        "run:1",
        META["adapter_sha256"],
        7,
    )
    assert feedback.verdicts(OWNER, [second]) == {second: "up"}


def test_a_row_leads_back_to_its_conversation_where_it_is_ones_own(feedback: Feedback) -> None:
    opened, (first, second) = talk(feedback)
    feedback.judge(OWNER, second, "up")
    (stored,) = feedback.datasets.all(feedback.datasets.find(NAME).id)
    trace = feedback.trace(OWNER, stored.id)
    assert trace is not None
    assert (trace.kind, trace.own, trace.conversation_id, trace.message_id) == ("up", True, opened, second)
    assert {name: trace.provenance[name] for name in ("prompt", "persona", "adapter_sha256", "seed")} == {
        "prompt": "吃了吗",
        "persona": "傲娇",
        "adapter_sha256": META["adapter_sha256"],
        "seed": 7,
    }
    shown = whence(trace, "zh")
    for told in ("吃了吗", "点赞 · 你自己", "sha256 abababababab", "种子 7", f'data-back-talk="{opened}"'):
        assert told in shown
    feedback.agree("v1")
    _, (theirs, _) = talk(feedback, "v1")
    feedback.judge("v1", theirs, "up")
    draft = next(one for one in feedback.datasets.all(feedback.datasets.find(NAME).id) if one.row.draft)
    trace = feedback.trace(OWNER, draft.id)
    assert trace is not None
    assert (trace.own, trace.conversation_id) == (False, "")
    assert "data-back-talk" not in whence(trace, "zh")
    assert "只有本人看得到" in whence(trace, "zh")
    feedback.conversations.remove(OWNER, opened)
    trace = feedback.trace(OWNER, stored.id)
    assert trace is not None
    assert trace.conversation_id == ""
    assert "已经删了" in whence(trace, "zh")
    assert feedback.trace(OWNER, "0" * 32) is None


def test_what_a_row_came_from_is_shown_without_markup_and_a_pick_with_both_sides(feedback: Feedback) -> None:
    sides = [{"adapter": f"<i>{n}", "base": "starter", "engine": "llamacpp", "seed": n} for n in range(2)]
    feedback.pick(OWNER, "<b>她", "<img src=x>" * 100, Said("好", sides[0]), Said("坏", sides[1]))
    (stored,) = feedback.datasets.all(feedback.datasets.find(NAME).id)
    trace = feedback.trace(OWNER, stored.id)
    assert trace is not None
    shown = whence(trace, "en")
    assert "<img" not in shown
    assert "<i>" not in shown
    assert len(shown) < 4000
    assert "engine llamacpp · seed 0" in shown
    assert "engine llamacpp · seed 1" in shown


def test_a_disliked_alternative_makes_a_pair_in_whatever_order(feedback: Feedback) -> None:
    for order in ((0, 1), (1, 0)):
        _, answers = talk(feedback)
        verdicts = {0: "down", 1: "up"}
        for place in order:
            feedback.judge(OWNER, answers[place], verdicts[place])
        assert rows(feedback)[-1].rejected == "吃了。"
        assert rows(feedback)[-1].output == "要你管！"
    assert len(rows(feedback)) == 2


def test_the_same_again_takes_it_back(feedback: Feedback) -> None:
    _, (first, second) = talk(feedback)
    feedback.judge(OWNER, second, "up")
    feedback.judge(OWNER, first, "down")
    feedback.judge(OWNER, first, "down")
    assert [row.rejected for row in rows(feedback)] == [""]
    feedback.judge(OWNER, second, "up")
    assert rows(feedback) == []
    assert feedback.verdicts(OWNER, [first, second]) == {}
    feedback.judge(OWNER, first, "down")
    assert rows(feedback) == [], "what is only disliked teaches nothing yet"


def test_a_row_that_the_owner_has_changed_stays(feedback: Feedback) -> None:
    _, (_, second) = talk(feedback)
    feedback.judge(OWNER, second, "up")
    (stored,) = feedback.datasets.all(feedback.datasets.find(NAME).id)
    feedback.datasets.save(stored.id, stored.version, Row("吃了吗", "改过的回答。", "傲娇"))
    feedback.judge(OWNER, second, "up")
    assert [row.output for row in rows(feedback)] == ["改过的回答。"]


def test_what_was_written_in_the_place_of_an_answer_is_the_better_one(feedback: Feedback) -> None:
    _, (first, _) = talk(feedback)
    edited = feedback.branches.edit(OWNER, first, "吃、吃了又怎样！")
    feedback.rewritten(OWNER, edited.id)
    (row,) = rows(feedback)
    assert (row.output, row.rejected, row.tags) == ("吃、吃了又怎样！", "吃了。", ("改写",))
    feedback.rewritten(OWNER, feedback.branches.edit(OWNER, first, " 吃了。 ").id)
    assert len(rows(feedback)) == 1, "nothing was changed"


def test_a_visitors_feedback_waits_for_their_word_and_for_the_owner(feedback: Feedback) -> None:
    _, (first, second) = talk(feedback, "v1")
    for verdict in ("up", "down"):
        with pytest.raises(AnimeAIError) as caught:
            feedback.judge("v1", second, verdict)
        assert caught.value.key == "feedback.not_agreed"
    feedback.rewritten("v1", feedback.branches.edit("v1", first, "别的").id)
    assert feedback.datasets.list() == []
    feedback.agree("v1")
    feedback.judge("v1", second, "up")
    feedback.pick("v1", "傲娇", "问", Said("好", {}), Said("坏", {}))
    assert [(row.draft, VISITORS in row.tags) for row in rows(feedback)] == [(True, True)] * 2
    assert (feedback.gathered("傲娇").rows, feedback.gathered("傲娇").waiting) == (0, 2)
    for stored in feedback.datasets.all(feedback.datasets.find(NAME).id):
        accepted = Row(stored.row.input, stored.row.output, "傲娇", rejected=stored.row.rejected)
        feedback.datasets.save(stored.id, stored.version, accepted)
    found = feedback.gathered("傲娇")
    assert (found.rows, found.pairs, found.waiting) == (2, 1, 0)
    assert feedback.gathered("温柔").rows == 0


def test_nobody_judges_what_is_not_theirs_or_no_answer(feedback: Feedback) -> None:
    conversation, (first, _) = talk(feedback)
    feedback.agree("v1")
    with pytest.raises(AccessError):
        feedback.judge("v1", first, "up")
    greeting, asked = feedback.conversations.get(OWNER, conversation).messages[:2]
    for other in (greeting, asked):
        with pytest.raises(AnimeAIError) as caught:
            feedback.judge(OWNER, other.id, "up")
        assert caught.value.key == "feedback.no_answer"
    with pytest.raises(AnimeAIError) as caught:
        feedback.pick(OWNER, "傲娇", "问", Said("一样", {}), Said(" 一样 ", {}))
    assert caught.value.key == "feedback.same"


def test_a_dataset_that_was_renamed_is_gone_on_with_and_one_that_was_removed_is_made_anew(feedback: Feedback) -> None:
    _, (first, second) = talk(feedback)
    feedback.judge(OWNER, first, "up")
    feedback.datasets.rename(feedback.datasets.find(NAME).id, "她的好话")
    feedback.judge(OWNER, second, "up")
    assert [(info.name, info.rows) for info in feedback.datasets.list()] == [("她的好话", 2)]
    feedback.datasets.remove(feedback.datasets.find("她的好话").id)
    feedback.judge(OWNER, second, "up")
    feedback.judge(OWNER, second, "up")
    assert [(info.name, info.rows) for info in feedback.datasets.list()] == [(NAME, 1)]
