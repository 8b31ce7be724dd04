"""What alembic runs for every command: on the connection that `migrate` hands over.

Alembic executes this file; nothing imports it.
"""

from __future__ import annotations

from alembic import context

from custodes.store import review_tables  # noqa: F401 - adds its tables
from custodes.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite can, once BEGIN is sent by hand: see database.py
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
