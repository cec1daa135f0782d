"""What persons think of answers, as rows of a dataset of their own: good answers, pairs of a better and a worse one.

An answer that is liked becomes a row; where an alternative to it is disliked, the row is a pair. What somebody wrote in
the place of an answer, and the one of two that was picked, are pairs too. What is not the owner's is a draft, which
nothing trains on until the owner accepts it. Knows no page and no trainer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import delete, select

from anime_ai.chat.branches import Branches
from anime_ai.chat.cast import Cast
from anime_ai.chat.conversations import Conversations
from anime_ai.chat.tree import Message
from anime_ai.config import OWNER
from anime_ai.dataset.rows import Row
from anime_ai.dataset.store import Datasets
from anime_ai.errors import AnimeAIError
from anime_ai.persona.cards import Personas
from anime_ai.storage import (
    ConversationRecord,
    Database,
    DatasetRecord,
    FeedbackRecord,
    MessageRecord,
    RowRecord,
)

NAME = "聊天反馈"
SOURCE = "feedback"
"""Where the dataset and its rows come from, as they say it."""
TAGS = {"up": "点赞", "edit": "改写", "pick": "优选"}
VISITORS = "访客"
"""The tag of what is not the owner's."""
MOST_TURNS = 6
"""Exchanges before a question that its row keeps."""


@dataclass(frozen=True)
class Said:
    """An answer that stands in no conversation, and what it came from: adapter, its hash, base, seed."""

    text: str
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Gathered:
    """What has come together for a persona: `rows` that the owner accepted, `pairs` among them, and `waiting` drafts of
    all personas. `dataset` is "" while there is none."""

    dataset: str = ""
    rows: int = 0
    pairs: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class Trace:
    """What a row was made of. `kind`: up, edit or pick; `own`: the verdict of who looks. `conversation_id` and
    `message_id` are "" where there is no conversation any more, or it is not theirs."""

    kind: str
    own: bool
    provenance: dict[str, Any]
    conversation_id: str = ""
    message_id: str = ""


class Feedback:
    """See the module. Raises AccessError for messages that are not this person's."""

    def __init__(
        self, database: Database, conversations: Conversations, datasets: Datasets, personas: Personas | None = None
    ) -> None:
        self._database, self._cast = database, Cast(personas or Personas(), ())
        self.conversations, self.datasets = conversations, datasets
        self.branches: Branches = conversations.branches

    def agreed(self, person: str) -> bool:
        """Whether a person knows that what they think of an answer is kept. The owner does."""
        if person == OWNER:
            return True
        with self._database.reading() as session:
            wanted = select(FeedbackRecord.id).where(FeedbackRecord.person == person, FeedbackRecord.kind == "agreed")
            return session.scalars(wanted.limit(1)).first() is not None

    def agree(self, person: str) -> None:
        if not self.agreed(person):
            with self._database.session() as session:
                session.add(FeedbackRecord(person=person, kind="agreed"))

    def verdicts(self, person: str, message_ids: Sequence[str]) -> dict[str, str]:
        """up or down, by message."""
        with self._database.reading() as session:
            wanted = select(FeedbackRecord.message_id, FeedbackRecord.kind).where(
                FeedbackRecord.person == person, FeedbackRecord.kind.in_(("up", "down"))
            )
            found = session.execute(wanted.where(FeedbackRecord.message_id.in_(list(message_ids)[-400:])))
            return {message: kind for message, kind in found}

    def judge(self, person: str, message_id: str, verdict: str) -> None:
        """Like ("up") or dislike ("down") an answer; the same once more takes it back."""
        self._refuse_strangers(person)
        message = self.branches.message(person, message_id)
        _, asked = self._asked(person, message)
        before = self.verdicts(person, message.siblings)
        self._forget(person, message_id)
        if before.get(message_id) != verdict:
            row = self._keep_row(person, message, "up", before) if verdict == "up" else None
            self._record(person, verdict, message_id, row, provenance_of(message, asked))
        if "down" not in (verdict, before.get(message_id)):
            return
        # What is liked beside it has another worse answer now, or none any more.
        now = self.verdicts(person, message.siblings)
        for sibling in message.siblings:
            if sibling != message_id and now.get(sibling) == "up":
                liked = self.branches.message(person, sibling)
                if liked.speaker != message.speaker:
                    continue
                self._forget(person, sibling)
                row = self._keep_row(person, liked, "up", now)
                self._record(person, "up", sibling, row, provenance_of(liked, asked))

    def rewritten(self, person: str, message_id: str) -> None:
        """An answer was written anew by a person: better than the one in whose place it stands. Nothing is kept of who
        has not agreed."""
        message = self.branches.message(person, message_id)
        old_id = str(message.meta.get("edited", ""))
        answers = message.role == "assistant" and message.parent and not message.meta.get("greeting")
        if not answers or not old_id or not self.agreed(person):
            return
        old, (_, asked) = self.branches.message(person, old_id), self._asked(person, message)
        if old.content.strip() == message.content.strip():
            return
        row = self._row(person, message, "edit", old.content)
        self._record(person, "edit", message_id, self._add(row), provenance_of(old, asked))

    def pick(self, person: str, persona: str, question: str, better: Said, worse: Said) -> None:
        """One of two answers to the same question was picked."""
        self._refuse_strangers(person)
        if better.text.strip() == worse.text.strip():
            raise AnimeAIError("feedback.same")
        row = Row(question, better.text.strip(), persona, rejected=worse.text.strip())
        provenance = {"prompt": question, "persona": persona, "better": better.provenance, "worse": worse.provenance}
        self._record(person, "pick", "", self._add(self._marked(person, row, "pick")), provenance)

    def provenance(self, row_id: str) -> dict[str, Any]:
        """Where a row of the dataset comes from; empty for a row of another kind."""
        with self._database.reading() as session:
            found = session.scalars(select(FeedbackRecord).where(FeedbackRecord.row_id == row_id).limit(1)).first()
            return dict(found.provenance) if found else {}

    def trace(self, person: str, row_id: str) -> Trace | None:
        """How a row came about, for who looks at it; None for a row of another kind."""
        with self._database.reading() as session:
            found = session.scalars(select(FeedbackRecord).where(FeedbackRecord.row_id == row_id).limit(1)).first()
            if found is None:
                return None
            talk = session.scalars(
                select(ConversationRecord)
                .join(MessageRecord, MessageRecord.conversation_id == ConversationRecord.id)
                .where(MessageRecord.id == found.message_id, ConversationRecord.person == person)
            ).first()
            there = (talk.id, found.message_id) if talk is not None else ("", "")
            return Trace(found.kind, found.person == person, dict(found.provenance), *there)

    def gathered(self, persona: str) -> Gathered:
        dataset = self._dataset()
        if not dataset:
            return Gathered()
        rows = self.datasets.rows(dataset)
        own = [row for row in rows if row.persona == persona and not row.draft]
        return Gathered(dataset, len(own), sum(bool(row.rejected) for row in own), sum(row.draft for row in rows))

    # How rows are made.

    def _asked(self, person: str, answer: Message) -> tuple[Sequence[Message], Message]:
        """What stood before an answer, and what it answers: among several, as its speaker had heard it."""
        line = self.branches.line(person, answer.parent) if answer.parent else []
        if answer.role != "assistant" or answer.meta.get("greeting") or not line or not answer.content.strip():
            raise AnimeAIError("feedback.no_answer")
        if answer.speaker:
            turn = answer.meta.get("turn") or {}
            before, asked = self._cast.heard(line, answer.speaker, bool(turn.get("plain")))
            brought = [str(meta.get("brought", "")) for meta in (turn, asked.meta)]
            return before, replace(asked, meta={"brought": "\n".join(part for part in brought if part)})
        if line[-1].role != "user":
            raise AnimeAIError("feedback.no_answer")
        return line[:-1], line[-1]

    def _refuse_strangers(self, person: str) -> None:
        if not self.agreed(person):
            raise AnimeAIError("feedback.not_agreed")

    def _keep_row(self, person: str, message: Message, kind: str, verdicts: dict[str, str]) -> str:
        disliked = [self.branches.message(person, one) for one in message.siblings if verdicts.get(one) == "down"]
        worse = [one.content for one in disliked if one.speaker == message.speaker]  # nobody else's answer is worse
        return self._add(self._row(person, message, kind, worse[-1] if worse else ""))

    def _row(self, person: str, message: Message, kind: str, rejected: str) -> Row:
        before, asked = self._asked(person, message)
        conversation = self.conversations.get(person, self.branches.conversation_of(person, message.id))
        row = Row(
            asked.content.strip(),
            message.content.strip(),
            message.speaker or conversation.persona,
            history=self._history(before),
            inner=message.thinking.strip() if message.meta.get("think") == "inner" else "",
            rejected=rejected.strip(),
        )
        return self._marked(person, row, kind)

    @staticmethod
    def _history(before: Sequence[Message]) -> tuple[tuple[str, str], ...]:
        """The exchanges before a question, the last ones."""
        pairs: list[tuple[str, str]] = []
        question = ""
        for one in before:
            if one.role == "user":
                question = one.content.strip()
            elif question and one.content.strip():
                pairs.append((question, one.content.strip()))
                question = ""
        return tuple(pairs[-MOST_TURNS:])

    @staticmethod
    def _marked(person: str, row: Row, kind: str) -> Row:
        own = person == OWNER
        return replace(row, tags=(TAGS[kind],) if own else (TAGS[kind], VISITORS), draft=not own)

    def _dataset(self) -> str:
        """The id of the dataset, whatever it is called by now; "" for none."""
        with self._database.reading() as session:
            wanted = select(DatasetRecord.id).where(DatasetRecord.source == SOURCE, DatasetRecord.removed.is_(False))
            return session.scalars(wanted.limit(1)).first() or ""

    def _add(self, row: Row) -> str:
        """The id of the row in the dataset, which is made for the first one."""
        dataset = self._dataset()
        if dataset:
            return self.datasets.add(dataset, row, source=SOURCE).id
        dataset = self.datasets.create(NAME, [row], SOURCE)
        return self.datasets.all(dataset)[0].id

    def _record(self, person: str, kind: str, message_id: str, row: str | None, provenance: dict[str, Any]) -> None:
        if message_id:
            talk = self.branches.conversation_of(person, message_id)
            speaker = self.branches.message(person, message_id).speaker
            provenance = {**provenance, "persona": speaker or self.conversations.get(person, talk).persona}
        with self._database.session() as session:
            session.add(
                FeedbackRecord(person=person, kind=kind, message_id=message_id, row_id=row, provenance=provenance)
            )

    def _forget(self, person: str, message_id: str) -> None:
        """Take a verdict back; its row goes into the bin, unless the owner has changed it meanwhile."""
        own = (
            FeedbackRecord.person == person,
            FeedbackRecord.message_id == message_id,
            FeedbackRecord.kind.in_(("up", "down")),
        )
        with self._database.session() as session:
            rows = list(session.scalars(select(FeedbackRecord.row_id).where(*own, FeedbackRecord.row_id.is_not(None))))
            session.execute(delete(FeedbackRecord).where(*own))
            there = session.execute(
                select(RowRecord.id, RowRecord.version).where(RowRecord.id.in_(rows), RowRecord.deleted.is_(False))
            ).all()
        for id, version in there:
            if version == 1:
                self.datasets.delete(id, version)


def provenance_of(answer: Message, asked: Message) -> dict[str, Any]:
    """What an answer came from, as JSON values."""
    meta = answer.meta
    told = {"prompt": asked.content, "message": answer.id, "seed": (meta.get("sampling") or {}).get("seed")}
    if asked.meta.get("brought"):
        told["brought"] = asked.meta["brought"]
    return told | {name: meta[name] for name in ("adapter", "adapter_sha256", "base", "sampling") if name in meta}
