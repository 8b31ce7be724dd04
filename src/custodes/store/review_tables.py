"""The tables of review: queues, their cases, who judged which, raters, what was done.

A judgment's row is made when its case is claimed, so its primary key alone keeps a rater from
judging a case twice. `taken` and `waiting` of a case summarize its judgments, and change in the
same transaction. Says what is stored, not how it comes in or out.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, Table, Text

from custodes.store.tables import SEQ, metadata

__all__ = ["actions", "cases", "judgments", "queues", "raters"]

queues = Table(
    "review_queues",
    metadata,
    Column("name", Text, primary_key=True),
    Column("settings", Text, nullable=False),
    Column("created", Double, nullable=False),
)
"""One row a queue; `settings` is the JSON of `custodes.review.QueueConfig`."""

cases = Table(
    "review_cases",
    metadata,
    Column("id", SEQ, primary_key=True, autoincrement=True),
    Column("queue", Text, nullable=False),
    Column("ref", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("waiting", Integer, nullable=False),
    Column("skill", Text, nullable=False),
    Column("slice", Text, nullable=False),
    Column("rank", Double, nullable=False),
    Column("needed", Integer, nullable=False),
    Column("taken", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("sealed", Integer, nullable=False),
    Column("ai_answer", Text),
    Column("ai_confidence", Double),
    Column("gold", Text),
    Column("answer", Text),
    Column("settled_by", Text),
    Column("created", Double, nullable=False),
    Column("settled", Double),
)
"""One row a case. Of those that wait, the least `rank` is asked first. `kind`: case, or gold (a
check whose answer is known, asked of every rater).
`state`: open, conflict, done. `waiting`: 1 while it may be claimed. `taken`: ratings that are
given or held. `content`: JSON, encrypted where `sealed`; so is `title`, but for that of earlier
versions, which is empty."""

Index("review_cases_queue_ref", cases.c.queue, cases.c.ref, unique=True)
Index(
    "review_cases_next",
    cases.c.queue,
    cases.c.kind,
    cases.c.waiting,
    cases.c.skill,
    cases.c.rank,
    cases.c.id,
)
Index("review_cases_state", cases.c.queue, cases.c.kind, cases.c.state, cases.c.id)

judgments = Table(
    "review_judgments",
    metadata,
    Column("case_id", BigInteger, primary_key=True, autoincrement=False),
    Column("part", Text, primary_key=True),
    Column("rater", Text, primary_key=True),
    Column("queue", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("arm", Text, nullable=False),
    Column("claimed", Double, nullable=False),
    Column("until", Double, nullable=False),
    Column("shown", Double),
    Column("first_answer", Text),
    Column("first_confidence", Double),
    Column("revealed", Double),
    Column("draft", Text),
    Column("answer", Text),
    Column("confidence", Double),
    Column("note", Text),
    Column("seconds", Double),
    Column("given", Double),
    Column("changes", Integer, nullable=False),
)
"""One row a case, part (rating or ruling) and rater. `state`: held until `until`, left (the claim
ran out or was given back), given. A note, in `draft` as well, is encrypted by the desk where it has
a key. Times are seconds since 1970; `seconds`: from shown to given."""

Index("review_judgments_state", judgments.c.queue, judgments.c.state, judgments.c.until)
Index(
    "review_judgments_rater",
    judgments.c.queue,
    judgments.c.rater,
    judgments.c.state,
    judgments.c.given,
)

raters = Table(
    "review_raters",
    metadata,
    Column("id", Text, primary_key=True),
    Column("skills", Text, nullable=False),
)
"""One row a rater of whom something is known; `skills` is a JSON list."""

actions = Table(
    "review_actions",
    metadata,
    Column("id", SEQ, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("queue", Text, nullable=False),
    Column("case_id", BigInteger, nullable=False),
    Column("rater", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("detail", Text, nullable=False),
)
"""One row whenever somebody did something: claimed, revealed, gave, changed, undid, left,
expired, ruled, unreadable (set aside, since no key opens it). `detail` is JSON. Rows are never
altered."""

Index("review_actions_case", actions.c.case_id, actions.c.id)
