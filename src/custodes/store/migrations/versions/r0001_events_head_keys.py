"""Events, the head of their chain, API keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables and the head of an empty chain."""
    op.create_table(
        "events",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            autoincrement=False,
        ),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("judged", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("rule", sa.Text),
        sa.Column("logits", sa.Text, nullable=False),
        sa.Column("versions", sa.Text, nullable=False),
        sa.Column("latency_ms", sa.Double, nullable=False),
        sa.Column("stop_at", sa.BigInteger),
        sa.Column("failure", sa.Text),
        sa.Column("text", sa.Text),
        sa.PrimaryKeyConstraint("seq", name="events_primary"),
        sa.UniqueConstraint("id", name="events_id_unique"),
    )
    for columns in (["at", "action", "rule", "latency_ms"], ["action", "seq"], ["rule", "seq"]):
        op.create_index("_".join(["events", *columns]), "events", columns)
    head = op.create_table(
        "head",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="head_primary"),
        sa.CheckConstraint("id = 1", name=op.f("head_one_row")),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "hash": "0" * 64}])
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("revoked", sa.Double),
        sa.PrimaryKeyConstraint("id", name="keys_primary"),
    )
