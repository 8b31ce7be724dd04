"""What may leave: pieces of a reply in, pieces that a clean verdict covers out.

Pure bookkeeping: no guard, no threads, no clock. Whoever runs it hands its `asks` to a `Hearing`
and the answers back.

- Pieces of a choice leave in the order in which they came. One leaves when all of its text is
  cleared; one that may be cut leaves as far as its text is cleared.
- Where a choice turns from one channel to another (from reasoning to content, to a tool call)
  the first is judged as complete, so that its end does not keep the second waiting. A channel
  that comes back is judged anew from its beginning, which costs; one that has come back too often
  is complete at the choice's end alone, and what comes between waits for that.
- What stands beside the text (channel other) may come with every piece: it is a channel of its own
  that does not end the one that it interrupts. It is complete where a piece has none of it.
- After a cut nothing of that choice ever leaves.
- Pieces of the stream as a whole (lane -1) leave when nothing of any choice is waiting.
- A gate that is `open` lets every piece go at once; what is asked and answered is the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from custodes.guard import Decision
from custodes.server.wire.base import Piece
from custodes.types import Action, Verdict

__all__ = ["Answer", "Ask", "Cut", "Gate", "Leave", "Settled"]

_STREAM = -1
_BESIDE = "other"
"""The channel of text outside the fields that are known to speak."""
_MOST_REOPENINGS = 64
"""A channel that has come back so often is no longer taken for complete where it is left."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Judge more text of a channel; None: its text is complete."""

    lane: int
    channel: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """`cleared`: characters of the channel that may leave, in all; `decision`: the last one."""

    lane: int
    channel: str
    cleared: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class Leave:
    """The piece leaves: all of it (`text` None), or this much of its text."""

    piece: Piece
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """The choice is stopped; `stop_at`: characters of the stopping channel that had left."""

    lane: int
    decision: Decision
    stop_at: int


@dataclass(frozen=True, slots=True)
class Settled:
    """The choice is complete and clean as far as this decision goes."""

    lane: int
    decision: Decision


@dataclass(slots=True)
class _Channel:
    received: int = 0
    cleared: int = 0
    left: int = 0
    complete: bool = False
    reopened: int = 0


@dataclass(slots=True)
class _Held:
    piece: Piece
    ends: tuple[tuple[_Channel, int], ...]
    given: int = 0
    """Characters of a piece that may be cut that have left."""


@dataclass(slots=True)
class _Lane:
    queue: deque[_Held] = field(default_factory=deque)
    channels: dict[str, _Channel] = field(default_factory=dict)
    current: str | None = None
    beside: bool = False
    """Whether the last text came with some of the channel other."""
    cut: bool = False
    unjudged: bool = False
    worst: Decision | None = None
    settled: bool = False
    ended: bool = False


class Gate:
    """One reply's way out; `choices`: how many choices were asked for.

    `open_`: see the module. `enforce` False: stops are reported and nothing is cut.
    """

    def __init__(self, choices: int, *, open_: bool = False, enforce: bool = True) -> None:
        self._choices = choices
        self._open = open_
        self._enforce = enforce
        self._lanes: dict[int, _Lane] = {}
        self._asks: list[Ask] = []
        self._cut = 0
        self._ended = 0
        """Choices that are cut, and that are cut or at their end."""

    def add(self, piece: Piece) -> None:
        """Take one piece; what is to be asked and what leaves is found by the other methods."""
        lane = self._lanes.get(piece.lane)
        if lane is None:
            lane = self._lanes[piece.lane] = _Lane()
        if lane.cut:
            return
        ends = []
        if lane.beside and piece.parts and all(name != _BESIDE for name, _ in piece.parts):
            self._leave_channel(piece.lane, lane, _BESIDE)
            lane.beside = False
        for name, text in piece.parts:
            channel = lane.channels.get(name)
            if channel is None:
                channel = lane.channels[name] = _Channel()
            elif channel.complete:
                channel.complete = False
                channel.reopened += 1
            if name == _BESIDE:
                lane.beside = True
            elif name != lane.current:
                if lane.current is not None:
                    self._leave_channel(piece.lane, lane, lane.current)
                lane.current = name
            channel.received += len(text)
            ends.append((channel, channel.received))
            self._asks.append(Ask(piece.lane, name, text))
        if piece.ends:
            self._end(piece.lane, lane)
        lane.queue.append(_Held(piece, tuple(ends)))

    def complete(self) -> None:
        """Nothing more will come: every choice ends here."""
        for number, lane in self._lanes.items():
            if not lane.cut:
                self._end(number, lane)

    def asks(self) -> list[Ask]:
        """What must be judged now, neighbors joined; each is given once."""
        joined: list[Ask] = []
        for ask in self._asks:
            last = joined[-1] if joined else None
            same = last is not None and (last.lane, last.channel) == (ask.lane, ask.channel)
            if same and last is not None and last.text is not None and ask.text is not None:
                joined[-1] = Ask(ask.lane, ask.channel, last.text + ask.text)
            else:
                joined.append(ask)
        self._asks.clear()
        return joined

    def settle(self, answers: Iterable[Answer]) -> Iterator[Cut | Leave | Settled]:
        """What happens by these answers, in order."""
        for answer in answers:
            lane = self._lanes[answer.lane]
            if lane.cut or lane.unjudged:
                continue
            channel = lane.channels[answer.channel]
            channel.cleared = max(channel.cleared, answer.cleared)
            lane.worst = _worse(lane.worst, answer.decision)
            if answer.decision.action is Action.STOP:
                yield from self._stop(answer.lane, lane, channel, answer.decision)
            elif answer.decision.verdict and answer.decision.verdict.failure:
                lane.unjudged = True
        yield from self.leaving()

    def leaving(self) -> Iterator[Cut | Leave | Settled]:
        """What may leave as things stand."""
        stream = None
        waiting = False
        for number, lane in self._lanes.items():
            if number == _STREAM:
                stream = lane
            elif lane.queue:
                yield from self._drain(number, lane)
                waiting = waiting or bool(lane.queue)
        if stream is not None and (self._open or not waiting):
            yield from self._drain(_STREAM, stream)

    def fail(self, verdict: Verdict) -> Iterator[Cut | Leave | Settled]:
        """Judging was given up: every choice that is not at its end gets this verdict."""
        decision = Decision(action=verdict.action, verdict=verdict)
        self._asks.clear()
        for number in range(self._choices):
            lane = self._lanes.setdefault(number, _Lane())
            if lane.cut or lane.settled:
                continue
            lane.worst = decision
            if verdict.action is Action.STOP:
                channel = lane.channels.get(lane.current or "", _Channel())
                yield from self._stop(number, lane, channel, decision)
            else:
                lane.unjudged = True
        yield from self.leaving()

    def owed(self) -> list[Ask]:
        """What must be asked for a verdict on all that has left: texts that are not complete."""
        return [
            Ask(number, name, None)
            for number, lane in self._lanes.items()
            if not (lane.cut or lane.settled or lane.unjudged)
            for name, channel in lane.channels.items()
            if channel.left
        ]

    def settle_up(self, answers: Iterable[Answer]) -> Iterator[Cut | Settled]:
        """Nothing more will leave: what these answers to `owed`, and those before, say of it."""
        for answer in answers:
            lane = self._lanes[answer.lane]
            if lane.settled:
                continue
            lane.worst = _worse(lane.worst, answer.decision)
            if answer.decision.action is Action.STOP:
                lane.settled = True
                yield Cut(answer.lane, answer.decision, lane.channels[answer.channel].left)
        yield from self.conclude()

    @property
    def owing(self) -> bool:
        """Whether something of a choice has left, or was judged, that is not yet reported."""
        return self.unreported or any(
            channel.left
            for lane in self._lanes.values()
            if not (lane.cut or lane.settled)
            for channel in lane.channels.values()
        )

    @property
    def unreported(self) -> bool:
        """Whether there is a verdict on a choice that is not yet reported."""
        return any(
            lane.worst is not None and not (lane.cut or lane.settled)
            for lane in self._lanes.values()
        )

    @property
    def open(self) -> bool:
        """Whether pieces leave before a verdict covers them."""
        return self._open

    @property
    def over(self) -> bool:
        """Whether every choice that was asked for is cut."""
        return self._cut >= self._choices

    @property
    def ended(self) -> bool:
        """Whether every choice that was asked for has come to its end or is cut."""
        return self._ended >= self._choices

    def _leave_channel(self, number: int, lane: _Lane, name: str) -> None:
        channel = lane.channels[name]
        if channel.reopened < _MOST_REOPENINGS:
            channel.complete = True
            self._asks.append(Ask(number, name, None))

    def _end(self, number: int, lane: _Lane) -> None:
        for name, channel in lane.channels.items():
            if not channel.complete:
                channel.complete = True
                self._asks.append(Ask(number, name, None))
        lane.current, lane.beside = None, False
        self._count_end(number, lane)

    def _count_end(self, number: int, lane: _Lane) -> None:
        if not lane.ended:
            lane.ended = True
            self._ended += number != _STREAM

    def _stop(
        self, number: int, lane: _Lane, channel: _Channel, decision: Decision
    ) -> Iterator[Cut | Leave | Settled]:
        if not self._enforce:
            lane.unjudged = lane.settled = True
            yield Cut(number, decision, channel.left)
            return
        yield from self._drain(number, lane, to_the_cut=True)
        lane.cut = True
        lane.queue.clear()
        self._cut += number != _STREAM
        self._count_end(number, lane)
        yield Cut(number, decision, channel.left)

    def _drain(
        self, number: int, lane: _Lane, *, to_the_cut: bool = False
    ) -> Iterator[Cut | Leave | Settled]:
        free = self._open or (lane.unjudged and not to_the_cut)
        while lane.queue:
            held = lane.queue[0]
            if free or all(end <= channel.cleared for channel, end in held.ends):
                lane.queue.popleft()
                yield self._leave(held)
                if held.piece.ends and not to_the_cut and not self._open:
                    yield from self._settled(number, lane)
                continue
            if not held.piece.whole and (partial := _partial(held)) is not None:
                yield partial
            break

    def _leave(self, held: _Held) -> Leave:
        for channel, end in held.ends:
            channel.left = max(channel.left, end)
        if held.given:
            return Leave(held.piece, held.piece.parts[0][1][held.given :])
        return Leave(held.piece)

    def _settled(self, number: int, lane: _Lane) -> Iterator[Settled]:
        if lane.worst is not None and not lane.settled:
            lane.settled = True
            yield Settled(number, lane.worst)

    def conclude(self) -> Iterator[Settled]:
        """After the last answer: the choices whose verdict was not yet reported."""
        for number, lane in self._lanes.items():
            if not lane.cut:
                yield from self._settled(number, lane)


def _partial(held: _Held) -> Leave | None:
    """The cleared beginning of a piece that may be cut."""
    channel, end = held.ends[0]
    text = held.piece.parts[0][1]
    until = len(text) - (end - channel.cleared)
    if until <= held.given:
        return None
    leave = Leave(held.piece, text[held.given : until])
    held.given = until
    channel.left = channel.cleared
    return leave


def _worse(old: Decision | None, new: Decision) -> Decision | None:
    """Of two decisions that carry verdicts the one to report."""
    if new.verdict is None:
        return old
    if old is None or old.verdict is None or new.verdict.score > old.verdict.score:
        return new
    return old
