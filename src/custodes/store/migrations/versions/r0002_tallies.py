"""Counts that are kept as events come in, and the outcomes of verifications.

The index over times goes: nothing reads events by time any more.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables and count the events that are there already."""
    op.create_table(
        "tallies",
        sa.Column("width", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("start", sa.BigInteger, nullable=False, autoincrement=False),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("judged", "action", "mode", "rule")
        ),
        sa.Column("failed", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(
            "width", "start", "judged", "action", "mode", "rule", "failed", name="tallies_primary"
        ),
    )
    op.create_table(
        "latencies",
        sa.Column("width", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("start", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("judged", sa.Text, nullable=False),
        sa.Column("step", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("width", "start", "judged", "step", name="latencies_primary"),
    )
    op.create_table(
        "verifications",
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("last_hash", sa.String(64), nullable=False),
        sa.Column("first_bad", sa.BigInteger),
        sa.Column("kind", sa.Text),
        sa.PrimaryKeyConstraint("at", name="verifications_primary"),
    )
    op.execute("UPDATE head SET seq = seq")  # no event comes between the counting and the commit
    op.create_index("events_key_seq", "events", ["key", "seq"])
    op.drop_index("events_at_action_rule_latency_ms", "events")
    for width in (15, 900):
        op.execute(_KINDS.bindparams(width=width))
        op.execute(_LATENCIES.bindparams(width=width))


_START = (
    "CAST(floor((CASE WHEN at > 900000000000 THEN 900000000000 "
    "WHEN at < -900000000000 THEN -900000000000 ELSE at END) / :width) AS BIGINT) * :width"
)
_STEP = (
    "CASE WHEN latency_ms <= 0.001 THEN -80 WHEN latency_ms >= 1073741824.0 THEN 240 "
    "ELSE CAST(floor(8 * ln(latency_ms) / ln(2.0)) AS INTEGER) END"
)
_KINDS = sa.text(
    "INSERT INTO tallies (width, start, judged, action, mode, rule, failed, events) "  # noqa: S608
    f"SELECT :width, {_START}, judged, action, mode, coalesce(rule, ''), "
    "CASE WHEN failure IS NULL THEN 0 ELSE 1 END, count(*) FROM events GROUP BY 1, 2, 3, 4, 5, 6, 7"
)
_LATENCIES = sa.text(
    "INSERT INTO latencies (width, start, judged, step, events) "  # noqa: S608
    f"SELECT :width, {_START}, judged, {_STEP}, count(*) FROM events GROUP BY 1, 2, 3, 4"
)
