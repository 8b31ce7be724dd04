"""The stream: an upstream's events in, what may leave out, judged on other threads meanwhile.

    upstream -> read -> gate -> what is cleared -> the client
                         |  ^
                    asks v  | answers
                        hearing (on a judging thread, everything that waits in one batch)

Three things keep memory bounded: the reader waits when the client is slow, the upstream waits
when the reader does, and at most one batch is being judged. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from custodes.errors import ModelError, ModelServerError, ModelTimeoutError
from custodes.guard import Decision, Guard
from custodes.models.sse import ServerEvent
from custodes.server.gate import Answer, Cut, Gate, Leave, Settled
from custodes.server.hearing import Hearing, failure
from custodes.server.judging import JudgePool, JudgingError
from custodes.server.telemetry import Metrics
from custodes.server.wire.base import MalformedReplyError, Piece, Ruling, WireReply
from custodes.types import Mode

__all__ = ["Bench", "Flow", "Outcome", "Terms", "status_of"]

_AHEAD = 256
"""Events that may wait between the upstream and the client."""
_TAIL = 0.25
"""Seconds in which the body of a reply that is complete may end, so that its connection is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a reply is judged by: fixed for the whole of it, whatever is reloaded meanwhile."""

    guard: Guard
    hearing: Hearing
    pool: JudgePool


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a reply is served.

    `enforce`: stops cut. `checked`: nothing leaves before a verdict covers it. `patient`: the
    end of the reply waits for the last verdict. `explain`: replies carry the guard's object.
    `until`: when the request must be over, by the event loop's clock.
    """

    enforce: bool
    checked: bool
    patient: bool
    explain: bool
    until: float


@dataclass(slots=True)
class Outcome:
    """What a whole reply came to."""

    kept: dict[int, dict[str, str]] = field(default_factory=dict)
    cuts: dict[int, Ruling] = field(default_factory=dict)
    worst: Ruling | None = None


class Flow:
    """One reply on its way.

    `bench` None judges nothing. `report` is told of every verdict, with its choice. `noted`: what
    the client is to be told of its input.
    """

    def __init__(
        self,
        reply: WireReply,
        choices: int,
        *,
        bench: Bench | None,
        terms: Terms,
        metrics: Metrics,
        report: Callable[[Ruling, int], None],
        noted: Ruling | None = None,
    ) -> None:
        self._reply = reply
        self._bench = bench
        self._terms = terms
        self._metrics = metrics
        self._report = report
        free = bench is None or not terms.checked or not terms.enforce
        self._gate = Gate(choices, open_=free, enforce=terms.enforce)
        self._loop = asyncio.get_running_loop()
        self._inbox: asyncio.Queue[ServerEvent] = asyncio.Queue(_AHEAD)
        self._wake = asyncio.Event()
        self._read_out = False
        self._completed = False
        self._broken: ModelError | None = None
        self._fault: ModelError | None = None
        self._judging: asyncio.Task[list[Answer]] | None = None
        self._worst = noted
        self._told = False
        self._concluded = False

    # Streams

    async def stream(self, events: AsyncIterator[ServerEvent]) -> AsyncIterator[bytes]:
        """What goes to the client; closing the iterator stops the reading, and the judging where
        nothing unjudged has left."""
        reader = self._loop.create_task(self._read(events))
        late = self._loop.call_at(self._terms.until, self._expire)
        try:
            while True:
                sent = self._advance()
                if sent:
                    yield sent
                if self._over():
                    break
                await self._wake.wait()
                self._wake.clear()
            yield self._last_words()
            if self._reply.done:
                await asyncio.wait([reader], timeout=_TAIL)
        finally:
            late.cancel()
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            if self._judging is not None and not (self.owing and self._gate.open):
                self._judging.cancel()

    @property
    def owing(self) -> bool:
        """Whether text has left, or was judged, whose verdict is not yet reported."""
        if self._concluded or self._gate.over:
            return False
        if self._bench is None:  # there is no guard, or it failed and may be passed over
            return self._gate.unreported
        return self._gate.open or self._gate.owing

    async def linger(self) -> None:
        """When the client has got all that it will get: a verdict on that, and its report.

        Where text leaves unjudged: two batches at most, the one that is being judged, and all that
        has come since. Else what was judged is taken for complete: what nobody will get is not
        judged any more.
        """
        if self._bench is None or not self._gate.open:
            await self._settle_up()
            return
        self._gate.complete()
        judging = self._judging or self._ask()
        while judging is not None:
            try:
                await asyncio.wait([judging])
            finally:
                judging.cancel()
            self._act(self._verdicts(judging))
            judging = self._ask()
        self._conclude()

    async def _settle_up(self) -> None:
        asks, bench = self._gate.owed(), self._bench
        answers = self._unheard()
        if asks and bench is not None:
            try:
                answers += await self._timed(bench, lambda: bench.hearing.answer(asks))
            except JudgingError as error:
                verdict = failure(bench.guard, Mode.EXCHANGE, str(error))
                decision = Decision(action=verdict.action, verdict=verdict)
                answers += [Answer(ask.lane, ask.channel, 0, decision) for ask in asks]
        self._concluded = True
        self._act(self._gate.settle_up(answers))

    def _unheard(self) -> list[Answer]:
        """The answers that were there when the client left."""
        judging = self._judging
        if judging is None or not judging.done() or judging.cancelled() or judging.exception():
            return []
        return list(judging.result())

    async def _read(self, events: AsyncIterator[ServerEvent]) -> None:
        try:
            async for event in events:
                await self._inbox.put(event)
                self._wake.set()
        except ModelError as error:
            self._broken = error  # counts once all that came before it has been read
        finally:
            self._read_out = True
            self._wake.set()

    def _expire(self) -> None:
        self._fault = self._fault or ModelTimeoutError("the request took too long")
        self._wake.set()

    def _advance(self) -> bytes:
        """Everything that can be done now without waiting."""
        sent = bytearray()
        if self._judging is not None and self._judging.done():
            sent += self._act(self._verdicts(self._judging))
            self._judging = None
        sent += self._take()
        if self._judging is None:
            self._judging = self._ask()
        return bytes(sent)

    def _take(self) -> bytes:
        """Move what has come to the gate."""
        came = False
        while not (self._inbox.empty() or self._reply.done or self._fault):
            came = True
            event = self._inbox.get_nowait()
            try:
                for piece in _pieces(self._reply.read, event.name, event.data):
                    piece.at = self._loop.time()
                    self._gate.add(piece)
            except ModelError as error:
                self._fault = error
        if self._reply.done or (self._read_out and self._inbox.empty()):
            self._complete()
        return self._act(self._gate.leaving()) if came or self._completed else b""

    def _complete(self) -> None:
        """Nothing more will be read: what is said to be complete is, wherever the body ends."""
        if self._completed or self._fault is not None:
            return
        if not self._reply.done:
            self._fault = self._broken
        if self._fault is None and not (self._reply.done or self._gate.ended):
            self._fault = ModelServerError("the upstream's stream ended before the reply")
        self._completed = True
        if self._fault is None:
            self._gate.complete()

    def _ask(self) -> asyncio.Task[list[Answer]] | None:
        """Begin to judge everything that waits for it."""
        asks = self._gate.asks()
        bench = self._bench
        if not asks or bench is None:
            return None
        judging = self._loop.create_task(self._timed(bench, lambda: bench.hearing.answer(asks)))
        judging.add_done_callback(lambda _: self._wake.set())
        return judging

    async def _timed(self, bench: Bench, work: Callable[[], list[Answer]]) -> list[Answer]:
        began = self._loop.time()
        answers = await bench.pool.run(work)
        self._metrics.judging.labels("reply").observe(self._loop.time() - began)
        return answers

    def _verdicts(self, judging: asyncio.Task[list[Answer]]) -> Iterable[Cut | Leave | Settled]:
        """What follows from a batch that was judged, or could not be."""
        try:
            return self._gate.settle(judging.result())
        except JudgingError as error:
            if self._bench is None:
                raise AssertionError("judged without a bench") from error
            verdict = failure(self._bench.guard, Mode.EXCHANGE, str(error))
            self._bench = None
            return self._gate.fail(verdict)

    def _act(self, outcomes: Iterable[Cut | Leave | Settled]) -> bytes:
        """Turn the gate's outcomes into bytes, metrics and reports."""
        sent = bytearray()
        for outcome in outcomes:
            if isinstance(outcome, Leave):
                sent += self._reply.emit(outcome.piece, outcome.text)
                self._metrics.held.observe(self._loop.time() - outcome.piece.at)
            else:
                ruling = self._rule(outcome)
                if isinstance(outcome, Cut) and self._terms.enforce and outcome.lane >= 0:
                    sent += self._reply.cut(outcome.lane, ruling)
                    self._told = True
        return bytes(sent)

    def _rule(self, outcome: Cut | Settled) -> Ruling:
        decision = outcome.decision
        if decision.verdict is None:
            raise AssertionError("a decision without a verdict")
        ruling = Ruling(
            verdict=decision.verdict,
            stop_at=outcome.stop_at if isinstance(outcome, Cut) else None,
            logits=decision.logits,
            explain=self._terms.explain,
        )
        self._report(ruling, outcome.lane)
        if self._worst is None or ruling.verdict.score > self._worst.verdict.score:
            self._worst = ruling
        return ruling

    def _over(self) -> bool:
        if self._terms.enforce and self._gate.over:
            return True
        waiting = self._judging is not None and self._terms.patient
        if self._fault is not None:
            return not waiting or isinstance(self._fault, ModelTimeoutError)
        return self._completed and not waiting

    def _last_words(self) -> bytes:
        if self._fault is not None and not (self._terms.enforce and self._gate.over):
            return self._reply.fail(*status_of(self._fault))
        sent = self._conclude() if self._judging is None else b""
        if self._terms.explain and self._worst is not None and not self._told:
            sent += self._reply.note(self._worst)
        return sent + self._reply.close()

    def _conclude(self) -> bytes:
        self._concluded = True
        return self._act(self._gate.conclude())

    @property
    def fault(self) -> ModelError | None:
        """What went wrong with the upstream."""
        return self._fault

    # Whole replies

    async def whole(self, body: dict[str, object]) -> Outcome:
        """Judge a whole reply as if it had been streamed."""
        for piece in _pieces(self._reply.pieces, body):
            self._gate.add(piece)
        self._gate.complete()
        outcome = Outcome()
        self._note(outcome, self._gate.leaving())
        if not self._terms.patient:
            return outcome
        while (judging := self._ask()) is not None:
            try:
                await asyncio.wait([judging])
            finally:
                judging.cancel()
            self._note(outcome, self._verdicts(judging))
        self._note(outcome, self._gate.conclude())
        self._concluded = True
        outcome.worst = self._worst
        return outcome

    def _note(self, outcome: Outcome, results: Iterable[Cut | Leave | Settled]) -> None:
        for result in results:
            if isinstance(result, Leave):
                kept = outcome.kept.setdefault(result.piece.lane, {})
                for channel, text in result.piece.parts:
                    left = text if result.text is None else result.text
                    kept[channel] = kept.get(channel, "") + left
            else:
                ruling = self._rule(result)
                if isinstance(result, Cut) and self._terms.enforce:
                    outcome.cuts[result.lane] = ruling


def _pieces(read: Callable[..., list[Piece]], *told: object) -> list[Piece]:
    """What was read; a value of a type that nobody foresaw is a reply that makes no sense."""
    try:
        return read(*told)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise MalformedReplyError(f"a reply of another shape: {type(error).__name__}") from error


def status_of(error: ModelError) -> tuple[int, str]:
    """The status and the words for a client; the upstream's own words may hold anything."""
    if isinstance(error, ModelTimeoutError):
        return 504, "the upstream did not answer in time"
    return 502, "the upstream failed while it was answering"
