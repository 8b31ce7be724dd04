"""The first page in numbers: how much comes in, what is stopped by which rule, how long it takes.

From counts to what the template shows; reads nothing itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from custodes.server.console import plots
from custodes.server.console.records import Window
from custodes.server.console.words import Outcome, milliseconds, outcome_of, percent, rate
from custodes.store import Latency, Tally, quantiles

__all__ = ["SPANS", "Overview", "RuleRow", "Span", "overview", "window_of"]

_QUANTILES = (0.5, 0.95, 0.99)
_NAMED = ("p50", "p95", "p99")
_RULES = 5
"""Rules that have a line of their own; the others share one."""
_RATE = plots.Unit(show=lambda value: f"{rate(value)} a second", mark=lambda value: f"{value:g}")
_SHARE = plots.Unit(show=percent, mark=lambda value: f"{100 * value:g} %")
_LATENCY = plots.Unit(show=milliseconds, mark=milliseconds)
_PARTS = (
    ("input", "input", "Time to the verdict on the input"),
    ("reply", "exchange", "Time to the verdict on the reply"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A length of time that can be chosen, its bucket, the key that chooses it, and how many
    seconds its page stands before it renews itself."""

    name: str
    says: str
    seconds: int
    bucket: int
    key: str
    renew: int


SPANS: Mapping[str, Span] = {
    span.name: span
    for span in (
        Span(name="15m", says="15 minutes", seconds=900, bucket=15, key="1", renew=5),
        Span(name="1h", says="hour", seconds=3_600, bucket=60, key="2", renew=5),
        Span(name="24h", says="24 hours", seconds=86_400, bucket=900, key="3", renew=15),
        Span(name="7d", says="7 days", seconds=7 * 86_400, bucket=7_200, key="4", renew=60),
    )
}


def window_of(span: Span, *, now: float) -> Window:
    """The buckets of a span that ends now."""
    return Window.last(span.seconds, now=now, bucket=span.bucket)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRow:
    """What became of the verdicts that named a rule, or none; `style`: its color."""

    rule: str
    stopped: int
    flagged: int
    shadow: int
    share: float
    style: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Quantiles of one judged part: of the whole span, and drawn over time."""

    name: str
    title: str
    values: Mapping[str, float]
    plot: Markup | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything of the page that moves."""

    span: Span
    requests: int
    rate: float
    verdicts: int
    outcomes: Mapping[Outcome, int]
    failures: int
    modes: Sequence[tuple[str, float]]
    rules: Sequence[RuleRow]
    latencies: Sequence[Latencies]
    traffic: Markup
    by_rule: Markup | None

    def share(self, outcome: Outcome) -> float:
        """Of all verdicts."""
        return self.outcomes.get(outcome, 0) / self.verdicts if self.verdicts else 0.0


def overview(
    span: Span, tallies: Sequence[Tally], latencies: Sequence[Latency], *, now: float
) -> Overview:
    """Both counts must be of `window_of(span, now=now)`."""
    window = window_of(span, now=now)
    outcomes: Counter[Outcome] = Counter()
    modes: Counter[str] = Counter()
    for tally in tallies:
        outcomes[outcome_of(tally)] += tally.events
        modes[tally.mode] += tally.events
    verdicts = modes.total()
    requests = sum(t.events for t in tallies if t.judged == "input")
    rules = _rules(tallies, verdicts)
    return Overview(
        span=span,
        requests=requests,
        rate=requests / (now - window.since),
        verdicts=verdicts,
        outcomes=outcomes,
        failures=sum(t.events for t in tallies if t.failed),
        modes=[(mode, n / verdicts) for mode, n in modes.most_common()],
        rules=rules,
        latencies=[_latencies(window, latencies, *part) for part in _PARTS],
        traffic=_traffic(window, tallies, now),
        by_rule=_by_rule(window, tallies, rules),
    )


def _traffic(window: Window, tallies: Iterable[Tally], now: float) -> Markup:
    counts = Counter[int]()
    for tally in tallies:
        if tally.judged == "input":
            counts[tally.start] += tally.events
    values: list[float | None] = []
    for start in range(window.since, window.until, window.bucket):
        elapsed = min(window.bucket, now - start)
        # A rate over the first moments of a bucket would jump about.
        young = elapsed < min(window.bucket, 5)
        values.append(None if young else counts[start] / elapsed)
    return plots.bars(window, values, title="Requests per second", unit=_RATE)


def _noted(tally: Tally) -> bool:
    return outcome_of(tally) is not Outcome.PASSED


def _rules(tallies: Iterable[Tally], verdicts: int) -> list[RuleRow]:
    """Every rule that was named, most often first."""
    found: dict[str, Counter[Outcome]] = {}
    for tally in tallies:
        if _noted(tally):
            found.setdefault(tally.rule, Counter())[outcome_of(tally)] += tally.events
    order = sorted(found, key=lambda rule: (-found[rule].total(), rule))
    return [
        RuleRow(
            rule=rule,
            stopped=found[rule][Outcome.STOPPED],
            flagged=found[rule][Outcome.FLAGGED],
            shadow=found[rule][Outcome.SHADOW],
            share=found[rule].total() / verdicts,
            style=min(place, _RULES),
        )
        for place, rule in enumerate(order)
    ]


def _by_rule(window: Window, tallies: Sequence[Tally], rules: Sequence[RuleRow]) -> Markup | None:
    """The share of a bucket's verdicts that each rule was named for."""
    if not rules:
        return None
    style = {row.rule: row.style for row in rules}
    totals, counts = Counter[int](), Counter[tuple[int, int]]()
    for tally in tallies:
        totals[tally.start] += tally.events
        if _noted(tally):
            counts[tally.start, style[tally.rule]] += tally.events
    starts = range(window.since, window.until, window.bucket)
    names = {row.style: row.rule or "no rule" for row in reversed(rules)}
    names |= {_RULES: "other rules"} if _RULES in names else {}
    series = [
        plots.Series(
            name=names[number],
            values=[counts[at, number] / totals[at] if totals[at] else None for at in starts],
            style=number,
        )
        for number in sorted(names)
    ]
    return plots.stacks(window, series, title="Share of verdicts by rule", unit=_SHARE)


def _latencies(
    window: Window, latencies: Sequence[Latency], name: str, judged: str, title: str
) -> Latencies:
    whole: Counter[int] = Counter()
    buckets: dict[int, Counter[int]] = {}
    for each in latencies:
        if each.judged == judged:
            whole[each.step] += each.events
            buckets.setdefault(each.start, Counter())[each.step] += each.events
    if not whole:
        return Latencies(name=name, title=title, values={}, plot=None)
    values = dict(zip(_NAMED, quantiles(whole, _QUANTILES), strict=True))
    found = {at: quantiles(steps, _QUANTILES) for at, steps in buckets.items()}
    series = [
        plots.Series(
            name=of,
            values=[
                found[at][place] if at in found else None
                for at in range(window.since, window.until, window.bucket)
            ],
            style=place,
        )
        for place, of in enumerate(_NAMED)
    ]
    plot = plots.lines(window, series, title=title, unit=_LATENCY)
    return Latencies(name=name, title=title, values=values, plot=plot)
