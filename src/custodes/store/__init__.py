"""What must survive a restart: events in a hash chain, API keys. The only part that knows SQL.

A gateway: `engine = connect(url)`, `migrate(engine)`, `EventLog(engine, ...)`.
"""

from __future__ import annotations

from custodes.errors import MissingExtraError

try:
    from custodes.store.arena import ArenaAttempt, arena_attempts, note_arena_attempt
    from custodes.store.chain import Checkpoint, Fault, Verification, checkpoint, verify
    from custodes.store.database import (
        connect,
        default_database,
        opened,
        reading,
        snapshot,
        writing,
    )
    from custodes.store.events import Event
    from custodes.store.keys import (
        Key,
        KeyMode,
        KeyRole,
        create_key,
        find_key,
        list_keys,
        named_key,
        revoke_key,
    )
    from custodes.store.log import EventLog
    from custodes.store.migrations import migrate, require_current
    from custodes.store.queries import (
        FILTERS,
        Verified,
        event_at,
        last_verified,
        latencies_in,
        latest,
        note_verified,
        stream,
        tallies_in,
        versions_in_use,
    )
    from custodes.store.rows import StoredEvent
    from custodes.store.tallies import Latency, Tally, bucket_of, quantiles, step_of
    from custodes.store.vault import ENVIRONMENT_KEY, Vault, new_vault_key
except ModuleNotFoundError as error:
    package = (error.name or "").partition(".")[0]
    if package in {"alembic", "cryptography", "sqlalchemy"}:
        raise MissingExtraError(package, "server") from error
    raise

__all__ = [
    "ENVIRONMENT_KEY",
    "FILTERS",
    "ArenaAttempt",
    "Checkpoint",
    "Event",
    "EventLog",
    "Fault",
    "Key",
    "KeyMode",
    "KeyRole",
    "Latency",
    "StoredEvent",
    "Tally",
    "Vault",
    "Verification",
    "Verified",
    "arena_attempts",
    "bucket_of",
    "checkpoint",
    "connect",
    "create_key",
    "default_database",
    "event_at",
    "find_key",
    "last_verified",
    "latencies_in",
    "latest",
    "list_keys",
    "migrate",
    "named_key",
    "new_vault_key",
    "note_arena_attempt",
    "note_verified",
    "opened",
    "quantiles",
    "reading",
    "require_current",
    "revoke_key",
    "snapshot",
    "step_of",
    "stream",
    "tallies_in",
    "verify",
    "versions_in_use",
    "writing",
]
