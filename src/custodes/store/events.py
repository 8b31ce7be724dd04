"""What is remembered of a verdict: one event each.

Plain values; knows neither SQL nor HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Event"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One verdict of the gateway.

    `id`: unique, sorts by time; `at`: seconds since 1970, UTC; `key`: id of the API key that
    asked; `route`: the path that was asked, such as /v1/messages; `mode`: the key's mode (enforce,
    flag, shadow); `judged`: what was judged (input, output, exchange); `action`: what the guard
    decided (release, stop); `score`: probability of harm, 0 to 1; `logits`: stage -> its own
    logit; `versions`: constitution and artifact; `latency_ms`: from the request to the verdict;
    `stop_at`: characters of the reply that had left when it was cut; `failure`: why the guard
    could not judge; `text`: what was judged, only where the operator keeps it.
    """

    id: str
    at: float
    key: str
    route: str
    mode: str
    judged: str
    action: str
    score: float
    rule: str | None = None
    logits: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    latency_ms: float = 0.0
    stop_at: int | None = None
    failure: str | None = None
    text: str | None = None
