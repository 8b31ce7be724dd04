"""What must survive a restart: events in a hash chain, API keys, reviews. Only this part knows SQL.

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
    from custodes.store.review_cases import (
        RATING,
        RULING,
        StoredCase,
        add_cases,
        case_of,
        lock_case,
        need_raters,
        next_case,
        put_queue,
        queue_names,
        queue_settings,
        set_aside,
        set_rank,
        set_skills,
        settle,
        skills_of,
    )
    from custodes.store.review_judgments import (
        StoredJudgment,
        claim_case,
        give,
        judgment_of,
        keep_claims,
        leave,
        note_action,
        sweep,
        take_back,
        touch,
    )
    from custodes.store.review_lists import Listed, list_cases
    from custodes.store.review_queries import (
        Rated,
        actions_of,
        answers_in,
        arms_on,
        claims_of,
        counts,
        first_answers,
        given_by,
        held_by,
        holders_of,
        is_rated,
        judgments_of,
        left_last,
        next_conflict,
        rated,
        recent_of,
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
    "RATING",
    "RULING",
    "ArenaAttempt",
    "Checkpoint",
    "Event",
    "EventLog",
    "Fault",
    "Key",
    "KeyMode",
    "KeyRole",
    "Latency",
    "Listed",
    "Rated",
    "StoredCase",
    "StoredEvent",
    "StoredJudgment",
    "Tally",
    "Vault",
    "Verification",
    "Verified",
    "actions_of",
    "add_cases",
    "answers_in",
    "arena_attempts",
    "arms_on",
    "bucket_of",
    "case_of",
    "checkpoint",
    "claim_case",
    "claims_of",
    "connect",
    "counts",
    "create_key",
    "default_database",
    "event_at",
    "find_key",
    "first_answers",
    "give",
    "given_by",
    "held_by",
    "holders_of",
    "is_rated",
    "judgment_of",
    "judgments_of",
    "keep_claims",
    "last_verified",
    "latencies_in",
    "latest",
    "leave",
    "left_last",
    "list_cases",
    "list_keys",
    "lock_case",
    "migrate",
    "named_key",
    "need_raters",
    "new_vault_key",
    "next_case",
    "next_conflict",
    "note_action",
    "note_arena_attempt",
    "note_verified",
    "opened",
    "put_queue",
    "quantiles",
    "queue_names",
    "queue_settings",
    "rated",
    "reading",
    "recent_of",
    "require_current",
    "revoke_key",
    "set_aside",
    "set_rank",
    "set_skills",
    "settle",
    "skills_of",
    "snapshot",
    "step_of",
    "stream",
    "sweep",
    "take_back",
    "tallies_in",
    "touch",
    "verify",
    "versions_in_use",
    "writing",
]
