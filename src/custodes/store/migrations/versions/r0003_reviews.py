"""Queues of cases, judgments, raters, and what they did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables of review."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "review_queues",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="review_queues_primary"),
    )
    op.create_table(
        "review_cases",
        sa.Column("id", number, nullable=False, autoincrement=True),
        *_texts("queue", "ref", "kind", "origin", "state"),
        sa.Column("waiting", sa.Integer, nullable=False),
        *_texts("skill", "slice"),
        sa.Column("rank", sa.Double, nullable=False),
        sa.Column("needed", sa.Integer, nullable=False),
        sa.Column("taken", sa.Integer, nullable=False),
        *_texts("title", "content"),
        sa.Column("sealed", sa.Integer, nullable=False),
        sa.Column("ai_answer", sa.Text),
        sa.Column("ai_confidence", sa.Double),
        sa.Column("gold", sa.Text),
        sa.Column("answer", sa.Text),
        sa.Column("settled_by", sa.Text),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("settled", sa.Double),
        sa.PrimaryKeyConstraint("id", name="review_cases_primary"),
    )
    op.create_table(
        "review_judgments",
        sa.Column("case_id", sa.BigInteger, nullable=False, autoincrement=False),
        *_texts("part", "rater", "queue", "state", "arm"),
        sa.Column("claimed", sa.Double, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("shown", sa.Double),
        sa.Column("first_answer", sa.Text),
        sa.Column("first_confidence", sa.Double),
        sa.Column("revealed", sa.Double),
        sa.Column("draft", sa.Text),
        sa.Column("answer", sa.Text),
        sa.Column("confidence", sa.Double),
        sa.Column("note", sa.Text),
        sa.Column("seconds", sa.Double),
        sa.Column("given", sa.Double),
        sa.Column("changes", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("case_id", "part", "rater", name="review_judgments_primary"),
    )
    op.create_table(
        "review_raters",
        *_texts("id", "skills"),
        sa.PrimaryKeyConstraint("id", name="review_raters_primary"),
    )
    op.create_table(
        "review_actions",
        sa.Column("id", number, nullable=False, autoincrement=True),
        sa.Column("at", sa.Double, nullable=False),
        *_texts("queue"),
        sa.Column("case_id", sa.BigInteger, nullable=False),
        *_texts("rater", "what", "detail"),
        sa.PrimaryKeyConstraint("id", name="review_actions_primary"),
    )
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns, unique=name == "review_cases_queue_ref")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


_INDEXES = (
    ("review_cases_queue_ref", "review_cases", ["queue", "ref"]),
    (
        "review_cases_next",
        "review_cases",
        ["queue", "kind", "waiting", "skill", "rank", "id"],
    ),
    ("review_cases_state", "review_cases", ["queue", "kind", "state", "id"]),
    ("review_judgments_state", "review_judgments", ["queue", "state", "until"]),
    ("review_judgments_rater", "review_judgments", ["queue", "rater", "state", "given"]),
    ("review_actions_case", "review_actions", ["case_id", "id"]),
)
