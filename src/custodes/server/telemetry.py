"""What an operator sees: Prometheus metrics and JSON logs, neither of which holds a prompt.

Knows no request; whoever has one counts it here.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

__all__ = ["JsonLines", "Metrics", "log_to"]

_SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)


class Metrics:
    """The gateway's metrics, in a registry of their own.

    With several processes (`PROMETHEUS_MULTIPROC_DIR` set) `page` adds them all up.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.requests = Counter(
            "custodes_requests_total", "Requests", ["route", "status"], registry=registry
        )
        self.open = Gauge(
            "custodes_requests_open",
            "Requests being served",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.seconds = Histogram(
            "custodes_request_seconds",
            "From request to last byte",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.verdicts = Counter(
            "custodes_verdicts_total",
            "Verdicts",
            ["judged", "rule", "action", "mode"],
            registry=registry,
        )
        self.failures = Counter(
            "custodes_guard_failures_total", "Verdicts that could not be had", registry=registry
        )
        self.held = Histogram(
            "custodes_held_seconds",
            "How long a piece of a reply was held back",
            buckets=_SECONDS,
            registry=registry,
        )
        self.judging = Histogram(
            "custodes_judging_seconds",
            "One call of the guard, waiting for a thread included",
            ["judged"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.upstream_errors = Counter(
            "custodes_upstream_errors_total", "Upstreams that failed", ["upstream", "kind"],
            registry=registry,
        )  # fmt: skip
        self.disconnects = Counter(
            "custodes_disconnects_total", "Clients that left before the end", registry=registry
        )
        self.events_lost = Counter(
            "custodes_events_lost_total", "Events that could not be recorded", registry=registry
        )
        self.limited = Counter(
            "custodes_rate_limited_total", "Requests over the limit", registry=registry
        )
        self.limiter_failures = Counter(
            "custodes_limiter_failures_total", "Limits that could not be asked", registry=registry
        )
        self.reloads = Counter(
            "custodes_reloads_total", "Reloads of the guard", ["outcome"], registry=registry
        )

    def page(self) -> bytes:
        """The metrics in Prometheus' text format."""
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            every = CollectorRegistry()
            multiprocess.MultiProcessCollector(every)  # type: ignore[no-untyped-call]
            return generate_latest(every)
        return generate_latest(self._registry)


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what `extra` gave as `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        value: dict[str, Any] = {
            "at": round(record.created, 3),
            "level": record.levelname.lower(),
            "from": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            value["error"] = record.exc_info[0].__name__
        return json.dumps(value, default=str)


def log_to(stream: Any, *, level: str = "INFO") -> None:
    """Send the logs of custodes and of its server to a stream, as JSON lines."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    for name in ("custodes", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
