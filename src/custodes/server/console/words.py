"""How the console says things: what became of a verdict, shares, rates, times."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

__all__ = ["Outcome", "ago", "milliseconds", "moment", "outcome_of", "percent", "rate"]


class Outcome(StrEnum):
    """What a verdict did to the text that it is about."""

    STOPPED = "stopped"
    FLAGGED = "flagged"
    SHADOW = "shadow"
    """It would have been stopped, had the key not been in shadow mode."""
    UNJUDGED = "unjudged"
    """The guard failed, and the policy lets such text through."""
    PASSED = "passed"


class _Judged(Protocol):
    @property
    def action(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def rule(self) -> str | None: ...


_STOPS = {"enforce": Outcome.STOPPED, "flag": Outcome.FLAGGED, "shadow": Outcome.SHADOW}


def outcome_of(verdict: _Judged) -> Outcome:
    """What became of an event, or of a tally of them."""
    if verdict.action == "stop":
        return _STOPS.get(verdict.mode, Outcome.STOPPED)
    failed = getattr(verdict, "failed", False) or getattr(verdict, "failure", None)
    if failed:
        return Outcome.UNJUDGED
    return Outcome.FLAGGED if verdict.rule else Outcome.PASSED


def percent(share: float) -> str:
    """A share: two significant digits below ten percent."""
    value = 100 * share
    if value == 0:
        return "0 %"
    if value < 0.01:
        return "< 0.01 %"
    return f"{value:.2f} %" if value < 0.1 else f"{value:.1f} %" if value < 10 else f"{value:.0f} %"


def rate(per_second: float) -> str:
    """Requests per second."""
    if per_second == 0:
        return "0"
    if per_second < 0.1:
        return f"{per_second:.2g}"
    return f"{per_second:.1f}" if per_second < 100 else f"{per_second:,.0f}"


def milliseconds(value: float) -> str:
    """A latency, in the unit that suits it."""
    if value >= 1000:
        seconds = value / 1000
        return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"
    return f"{float(f'{value:.2g}'):g} ms" if value < 10 else f"{value:.0f} ms"


def moment(at: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Seconds since 1970 as a date and time, UTC; what no calendar holds as the number."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"{at:g}"


def ago(seconds: float) -> str:
    """How long ago something was."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"
