"""Scorers and policy as one thing that judges conversations and opens sessions.

Knows no file and no network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace

from custodes.classifiers.features.guarded import GuardedFeatures
from custodes.classifiers.features.record import PassRecord
from custodes.classifiers.scorer import Calibration, TokenScorer
from custodes.config import Config
from custodes.errors import ConfigError, DataError
from custodes.guard.cascade import Cascade, Stage
from custodes.guard.lane import Watch
from custodes.guard.policy import Policy
from custodes.guard.replay import replays
from custodes.guard.session import Session
from custodes.guard.tally import Tally, Terms
from custodes.types import Conversation, Mode, Score, Verdict

__all__ = ["Edition", "Guard", "mode_of"]


class Edition(Config):
    """Which constitution a guard was made from."""

    id: str
    """The constitution's id."""
    version: str
    """The authors' version of it."""
    sha256: str = ""
    """Hash of its text."""

    def __str__(self) -> str:
        return f"{self.id}@{self.version}"


def mode_of(conversation: Conversation) -> Mode:
    """How a whole conversation is judged.

    Where the assistant speaks last its reply is judged: as an exchange if a user's turn comes
    before it, else alone (output). Anything else that speaks last goes into a model: input.
    """
    if not conversation:
        raise DataError("got a conversation without messages; expected at least one")
    *before, last = conversation
    if last.role != "assistant":
        return Mode.INPUT
    asked = any(message.role == "user" for message in before)
    return Mode.EXCHANGE if asked else Mode.OUTPUT


class Guard:
    """Judges conversations; safe to share between threads as far as its scorers are.

    `clock` gives seconds and is read only where the policy sets a deadline. `artifact` is the
    version that verdicts carry, empty before a guard was saved. A mode without `calibration` takes
    the logit as it is. `ConfigError` where the policy speaks of a rule that no stage can name.
    """

    def __init__(
        self,
        cascade: Cascade,
        policy: Policy,
        *,
        edition: Edition,
        artifact: str = "",
        clock: Callable[[], float] = time.monotonic,
        calibration: Mapping[Mode, Calibration] | None = None,
    ) -> None:
        unknown = sorted(policy.rules.keys() - set(cascade.rules))
        if unknown:
            raise ConfigError(
                f"the policy speaks of unknown rules: got {', '.join(unknown)}, expected some of "
                f"{', '.join(cascade.rules) or '(no stage names rules)'}"
            )
        self.cascade = cascade
        self.policy = policy
        self.edition = edition
        self.artifact = artifact
        self.calibration = dict(calibration or {})
        self._clock = clock
        self._watch = Watch(clock, policy.deadline) if policy.deadline is not None else None

    def replace(
        self,
        *,
        cascade: Cascade | None = None,
        policy: Policy | None = None,
        calibration: Mapping[Mode, Calibration] | None = None,
    ) -> Guard:
        """This guard with other parts; what is not given stays."""
        return Guard(
            cascade or self.cascade,
            policy or self.policy,
            edition=self.edition,
            artifact=self.artifact,
            clock=self._clock,
            calibration=self.calibration if calibration is None else calibration,
        )

    @property
    def guarded(self) -> GuardedFeatures | None:
        """The features of the stage that reads the guarded model's own passes, where there is one;
        `ConfigError` where there are more: a record is given out once."""
        found = [each for stage in self.cascade.stages if (each := _guarded(stage)) is not None]
        if len(found) > 1:
            raise ConfigError(
                f"stages with features `guarded`: got {len(found)}, expected at most one: join "
                "their layers"
            )
        return found[0] if found else None

    def listening(self, record: PassRecord, *, after: int = 0) -> Guard:
        """This guard for one reply, the activations of whose passes come through `record`;
        `after`: characters of the judged text that come before the reply's own."""
        stages = [_heard(each, record, after) for each in self.cascade.stages]
        return self.replace(cascade=Cascade(stages, hidden=self.cascade.hidden))

    def open(self, context: Conversation, mode: Mode) -> Session:
        """Begin to judge a text that follows `context`; see `Scorer.open` for the modes."""
        stream = self.cascade.open(context, mode, watch=self._watch)
        return Session(stream, self._terms(mode))

    def judge(self, conversation: Conversation, mode: Mode | None = None) -> Verdict:
        """The verdict on the last turn of a whole conversation."""
        return self.judge_many([conversation], mode)[0]

    def judge_many(
        self, conversations: Sequence[Conversation], mode: Mode | None = None
    ) -> list[Verdict]:
        """The verdict on the last turn of each; `mode` None: see `mode_of`.

        It stops exactly what a session would stop, but `score` is that of the worst point of the
        whole text, where a session's is that of the point at which it stopped. Deadlines are not
        looked at.
        """
        return [
            replay.judge_pointwise(conversation, each)
            for conversation, (each, replay) in zip(
                conversations, self.replays(conversations, mode), strict=True
            )
        ]

    def replays(
        self, conversations: Sequence[Conversation], mode: Mode | None = None
    ) -> list[tuple[Mode, Guard]]:
        """For each conversation its mode and this guard, which knows already what its stages will
        say of it: they read all conversations of a mode in one batch."""
        modes = [mode_of(each) if mode is None else mode for each in conversations]
        found: dict[int, Guard] = {}
        for each in dict.fromkeys(modes):
            places = [place for place, other in enumerate(modes) if other is each]
            batch = [conversations[place] for place in places]
            for place, cascade in zip(places, replays(self.cascade, batch, each), strict=True):
                found[place] = self.knowing(cascade)
        return [(each, found[place]) for place, each in enumerate(modes)]

    def knowing(self, replay: Cascade) -> Guard:
        """This guard over a cascade that knows already what its stages will say (see `replay`).

        Those are the stages of one mode: they may name fewer rules than the policy speaks of.
        """
        known = copy(self)
        known.cascade = replay
        return known

    def probability(self, logit: float, mode: Mode) -> Score:
        """What a combined logit is compared as."""
        return self._terms(mode).calibration.probability(logit)

    def judge_pointwise(self, conversation: Conversation, mode: Mode) -> Verdict:
        """As `judge`, from a stream of the text."""
        points = self.cascade.points(conversation, mode)
        return Tally(self._terms(mode)).conclude(points)

    def _terms(self, mode: Mode) -> Terms:
        return Terms(
            policy=self.policy,
            mode=mode,
            calibration=self.calibration.get(mode, Calibration()),
            constitution=str(self.edition),
            artifact=self.artifact,
        )


def _guarded(stage: Stage) -> GuardedFeatures | None:
    features = getattr(stage.scorer, "features", None)
    return features if isinstance(features, GuardedFeatures) else None


def _heard(stage: Stage, record: PassRecord, after: int) -> Stage:
    features = _guarded(stage)
    if features is None or not isinstance(stage.scorer, TokenScorer):
        return stage
    own = features.listening(record, after=after)
    return replace(stage, scorer=replace(stage.scorer, features=own))
