"""The sessions of one reply: what the gate asks, the guard answers.

Runs on a judging thread, one call at a time, and ends soon after it was given up: long texts are
fed in slices, which no verdict depends on. No I/O, no event loop.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from custodes.classifiers.features.record import PassRecord
from custodes.guard import Decision, Guard, Response, Session, mode_of
from custodes.server.gate import Answer, Ask
from custodes.server.judging import checkpoint
from custodes.server.wire.base import Asked
from custodes.types import Action, Conversation, Message, Mode, Role, Verdict

__all__ = ["Heard", "Hearing", "Intake", "failure", "judge_text"]

_MAIN = ("content", "text")
_SLICE = 500
"""Characters that are judged before anybody looks whether the job was given up."""
_TURN = 0.05
"""Seconds after which one that waits for its turn looks whether it was."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A decision on an input, and what it is of: one turn after those before it, or one further
    text alone; nothing where there was nothing to judge."""

    decision: Decision
    said: Conversation


@dataclass(slots=True)
class _Trial:
    session: Session
    before: int
    """Characters that were fed before the reply's own: the beginning that the client wrote."""
    texts: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    released: int = 0
    cleared: int = 0
    finished: bool = False


class Hearing:
    """Judges the channels of a reply, each as one text in the context of its prompt.

    A channel that goes on after it was taken for complete is judged anew from its beginning, so
    that no text escapes by being interrupted. A reply that continues what the client put into
    the assistant's mouth is judged together with it.

    `records`: one a choice, where the guard reads the passes that write the reply; a channel that
    has none is stopped by it.
    """

    def __init__(self, guard: Guard, asked: Asked, *, records: Sequence[PassRecord] = ()) -> None:
        self._guard = guard
        self._asked = asked
        self._records = records
        self._trials: dict[tuple[int, str], _Trial] = {}
        # A batch that was given up is left at its next checkpoint, and the next may begin before.
        self._lock = threading.Lock()

    def answer(self, asks: Sequence[Ask]) -> list[Answer]:
        """One answer an ask, in order; after a stop nothing more is judged of that choice."""
        answers: list[Answer] = []
        stopped: set[int] = set()
        while not self._lock.acquire(timeout=_TURN):
            checkpoint()
        try:
            checkpoint()
            for ask in asks:
                if ask.lane in stopped:
                    continue
                answers.append(self._one(ask))
                if answers[-1].decision.action is Action.STOP:
                    stopped.add(ask.lane)
        finally:
            self._lock.release()
        return answers

    def text(self, lane: int) -> str:
        """What was judged of a choice, for operators who keep it."""
        return "\n".join(
            "".join(trial.texts)
            for (number, _), trial in list(self._trials.items())  # a thread may add one meanwhile
            if number == lane
        )

    def said(self, lane: int, verdict: Verdict) -> Conversation:
        """What a verdict on a choice is of, and what its span counts in: the text of the channel
        that it was given on, after the choice's own prompt. Nothing where none was judged."""
        for (number, channel), trial in list(self._trials.items()):
            if number == lane and any(each is verdict for each in trial.verdicts):
                context, begun = self._context(Ask(lane, channel, None))
                return (*context, Message("assistant", begun + "".join(trial.texts)))
        return ()

    def _one(self, ask: Ask) -> Answer:
        trial = self._trials.get((ask.lane, ask.channel))
        if trial is None:
            trial = self._open(ask)
            self._trials[ask.lane, ask.channel] = trial
        if ask.text is None:
            decision = trial.session.finish()
            trial.finished = True
        else:
            if trial.finished:
                self._reopen(trial, ask)
            trial.texts.append(ask.text)
            decision = _feed(trial.session, ask.text)
        last = trial.verdicts[-1] if trial.verdicts else None
        if decision.verdict is not None and decision.verdict is not last:
            trial.verdicts.append(decision.verdict)  # a session that ended gives its own again
        trial.released += len(decision.release)
        trial.cleared = max(trial.cleared, trial.released - trial.before)
        return Answer(ask.lane, ask.channel, trial.cleared, decision)

    def _open(self, ask: Ask) -> _Trial:
        context, begun = self._context(ask)
        asked = any(message.role == "user" for message in context)
        guard = self._listening(ask, len(begun))
        session = guard.open(context, Mode.EXCHANGE if asked else Mode.OUTPUT)
        released = len(_feed(session, begun).release) if begun else 0
        return _Trial(session, len(begun), released=released)

    def _listening(self, ask: Ask, after: int) -> Guard:
        features = self._guard.guarded
        if features is None:
            return self._guard
        told = ask.channel in _MAIN and ask.lane < len(self._records)
        record = self._records[max(ask.lane, 0)] if told else features.record()
        return self._guard.listening(record, after=after)

    def _context(self, ask: Ask) -> tuple[Conversation, str]:
        lane = max(ask.lane, 0) // self._asked.choices_each
        conversation = self._asked.conversations[lane]
        last = conversation[-1]
        if last.role != "assistant":
            return conversation, ""
        return conversation[:-1], last.content if ask.channel in _MAIN else ""

    def _reopen(self, trial: _Trial, ask: Ask) -> None:
        fresh = self._open(ask)
        trial.session, trial.released, trial.finished = fresh.session, fresh.released, False
        trial.released += len(_feed(trial.session, "".join(trial.texts)).release)


class Intake:
    """Judges what goes into a model: every turn that was not judged before, each in its context.

    Clients send a conversation again and again and could change its past, so every turn counts;
    verdicts are remembered by the hash of all that led to them. Safe in many threads.
    """

    def __init__(self, guard: Guard, *, roles: Sequence[Role], remember: int = 10_000) -> None:
        self._guard = guard
        self._roles = frozenset(roles)
        self._remember = remember
        self._known: OrderedDict[bytes, Decision] = OrderedDict()
        self._lock = threading.Lock()

    def judge(self, asked: Asked) -> Heard:
        """The first stop, else the decision of greatest score."""
        worst: tuple[Decision, Conversation, int] | None = None
        for key, conversation, place in self._texts(asked):
            checkpoint()
            decision = self._recall(key)
            if decision is None:
                decision = judge_text(self._guard, conversation[: place + 1])
                self._keep(key, decision)
            if decision.action is Action.STOP:
                return Heard(decision, conversation[: place + 1])
            if worst is None or _greater(decision, worst[0]):
                worst = decision, conversation, place
        if worst is None:
            return Heard(judge_text(self._guard, (Message("user", ""),)), ())
        decision, conversation, place = worst
        return Heard(decision, conversation[: place + 1])

    def _texts(self, asked: Asked) -> Iterator[tuple[bytes, Conversation, int]]:
        """What is to be judged: its conversation and place, and the hash of all up to there."""
        for text in asked.extras:
            alone = Message("system", text)
            yield hashlib.sha256(_framed(alone)).digest(), (alone,), 0
        for conversation in asked.conversations:
            state = hashlib.sha256()
            for place, message in enumerate(conversation):
                state.update(_framed(message))
                if message.role in self._roles and message.content:
                    yield state.digest(), conversation, place

    def _recall(self, key: bytes) -> Decision | None:
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
            return known

    def _keep(self, key: bytes, decision: Decision) -> None:
        if decision.verdict is None or decision.verdict.failure is not None:
            return
        with self._lock:
            self._known[key] = decision
            while len(self._known) > self._remember:
                self._known.popitem(last=False)


def judge_text(guard: Guard, conversation: Conversation) -> Decision:
    """The final decision on the last turn of a whole conversation, with the stages' logits."""
    session = guard.open(conversation[:-1], mode_of(conversation))
    decision = _feed(session, conversation[-1].content)
    return decision if decision.action is Action.STOP else session.finish()


def failure(guard: Guard, mode: Mode, why: str) -> Verdict:
    """The verdict where judging was given up: what the policy says of failures."""
    blocked = guard.policy.on_failure is Response.BLOCK
    return Verdict(
        action=Action.STOP if blocked else Action.RELEASE,
        mode=mode,
        score=1.0,
        constitution=str(guard.edition),
        artifact=guard.artifact,
        failure=why,
    )


def _greater(new: Decision, old: Decision) -> bool:
    if old.verdict is None or new.verdict is None:
        return True
    return new.verdict.score > old.verdict.score


def _feed(session: Session, text: str) -> Decision:
    """`session.feed`, slice by slice: the last decision with a verdict, else the last one, with all
    that was released."""
    checkpoint()
    decision = session.feed(text[:_SLICE])
    released = decision.release
    for start in range(_SLICE, len(text), _SLICE):
        if decision.action is Action.STOP:
            break
        checkpoint()
        further = session.feed(text[start : start + _SLICE])
        released += further.release
        if further.verdict is not None or decision.verdict is None:
            decision = further
    return decision if len(text) <= _SLICE else replace(decision, release=released)


def _framed(message: Message) -> bytes:
    """A turn, so that no two different sequences of turns come to the same bytes."""
    content = message.content.encode("utf-8", errors="surrogatepass")
    return f"{message.role}:{len(content)}:".encode() + content
