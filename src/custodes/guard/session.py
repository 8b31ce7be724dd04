"""One text on its way through the guard: pieces in; release, hold or stop out.

What holds, whatever the pieces:

- The releases, put together, are a prefix of the text; release, verdict and `stop_at` are the
  same for every chunking (except in release mode `immediate`, whose releases follow the pieces,
  and where a scorer raises or is late, which depends on how it was called).
- With release `checked` a character leaves only when a point with a clean verdict covers it and
  `hold_back` further characters, or when the text is complete and clean.
- After a stop nothing is ever released: every further call returns the same stop, with no text.
- A scorer that fails in any way stops the session, unless the policy's `on_failure` is `flag`:
  then the rest goes through unjudged, and the verdict says so.

No I/O, no waiting, no clock. Knows nothing of HTTP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from custodes.errors import InputError
from custodes.guard.cascade import CascadeStream, GuardPoint
from custodes.guard.policy import Response
from custodes.guard.tally import Tally, Terms
from custodes.types import Action, Verdict

__all__ = ["Decision", "Session"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of the text so far.

    `release`: text that may leave now. It can be non-empty with a stop: what points before the
    stopping one had cleared. `verdict`: set on a stop, on a failure and when the text is
    complete. `stop_at`: characters released in all, set on a stop. `logits`: stage -> logit of
    the point that decided, where there is a verdict.
    """

    action: Action
    release: str = ""
    verdict: Verdict | None = None
    stop_at: int | None = None
    logits: Mapping[str, float] = field(default_factory=dict)


class _Pending:
    """Text that was received and not yet released; each character is moved once."""

    def __init__(self) -> None:
        self._pieces: deque[str] = deque()
        self._offset = 0
        self.received = 0
        self.released = 0

    def add(self, text: str) -> None:
        self.received += len(text)
        if text:
            self._pieces.append(text)

    def take(self, until: int) -> str:
        """Everything before the character `until` of the whole text that is still here."""
        out = []
        while self.released < until:
            piece = self._pieces[0]
            part = piece[self._offset : self._offset + until - self.released]
            self.released += len(part)
            self._offset += len(part)
            out.append(part)
            if self._offset == len(piece):
                self._pieces.popleft()
                self._offset = 0
        return "".join(out)

    def drop(self) -> None:
        self._pieces.clear()


class Session:
    """Judges one growing text; made by `Guard.open`."""

    def __init__(self, stream: CascadeStream, terms: Terms) -> None:
        self._stream = stream
        self._policy = terms.policy
        self._tally = Tally(terms)
        self._pending = _Pending()
        self._clean = 0
        self._failure: Verdict | None = None
        self._end: Decision | None = None

    def feed(self, text: str) -> Decision:
        """Take the next piece. After a stop: the stop again; after `finish`: `InputError`."""
        if self._end is not None:
            if self._end.action is Action.STOP:
                return self._end
            raise InputError("the session is finished; got more text: open a new session for it")
        self._pending.add(text)
        if self._failure is not None:
            return self._release(self._pending.received)
        stopped = self._judge(self._stream.push(text))
        if stopped is not None:
            return stopped
        if self._policy.release == "immediate":
            return self._release(self._pending.received)
        return self._release(self._clean - self._policy.hold_back)

    def finish(self) -> Decision:
        """The text is complete: the final decision, with its verdict. Again: the same, no text."""
        if self._end is not None:
            return self._end
        stopped = None if self._failure else self._judge(self._stream.finish())
        if stopped is not None and stopped.action is Action.STOP:
            return stopped
        rest = self._pending.take(self._pending.received if self._failure else self._clean)
        verdict = self._failure or self._tally.verdict()
        final = Decision(
            action=Action.RELEASE,
            release=(stopped.release if stopped else "") + rest,
            verdict=verdict,
            logits=self._logits(),
        )
        self._end = replace(final, release="")
        return final

    def fail(self, why: str) -> Decision:
        """Judging failed outside (a worker died, a call was given up): as if a scorer raised.

        Changes nothing after the end.
        """
        return self._end if self._end is not None else self._fail(why)

    def _judge(self, points: Sequence[GuardPoint]) -> Decision | None:
        """Count the points in; the decision where they stop the text or cannot be had."""
        for point in points:
            if point.failure is not None:
                return self._fail(point.failure)
            if self._tally.add(point) is Response.BLOCK:
                return self._stop(self._tally.verdict())
            self._clean = max(self._clean, point.covered)
        return None

    def _stop(self, verdict: Verdict) -> Decision:
        cleared = self._pending.take(self._clean - self._policy.hold_back)
        self._pending.drop()
        stop = Decision(
            action=Action.STOP,
            release=cleared,
            verdict=verdict,
            stop_at=self._pending.released,
            logits=self._logits(),
        )
        self._end = replace(stop, release="")
        return stop

    def _fail(self, why: str) -> Decision:
        verdict = self._tally.failure(why)
        if verdict.action is Action.STOP:
            return self._stop(verdict)
        self._failure = verdict
        text = self._pending.take(self._pending.received)
        return Decision(action=Action.RELEASE, release=text, verdict=verdict, logits=self._logits())

    def _release(self, until: int) -> Decision:
        text = self._pending.take(until)
        return Decision(action=Action.RELEASE if text else Action.HOLD, release=text)

    def _logits(self) -> Mapping[str, float]:
        return self._tally.decisive.logits if self._tally.decisive else {}
