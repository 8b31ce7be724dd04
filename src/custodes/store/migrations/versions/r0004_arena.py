"""The arena's attempts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "arena",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("player", sa.Text, nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("strategy", sa.Text, nullable=False),
        sa.Column("turns", sa.Text, nullable=False),
        sa.Column("reply", sa.Text, nullable=False),
        sa.Column("stopped", sa.Text),
        sa.Column("grade", sa.Double, nullable=False),
        sa.Column("success", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="arena_primary"),
    )
    op.create_index("arena_at", "arena", ["at"])
