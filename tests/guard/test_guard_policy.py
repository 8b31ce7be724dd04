from __future__ import annotations

import math

import pytest

from custodes.errors import ConfigError
from custodes.guard import Calibration, Policy, Response, RulePolicy
from custodes.types import Mode, RuleId

ANT, BEE = RuleId("ant"), RuleId("bee")


def test_calibration_is_a_sigmoid_without_overflow() -> None:
    plain = Calibration()
    assert plain.probability(0) == 0.5
    assert plain.probability(2) == pytest.approx(1 / (1 + math.exp(-2)))
    assert plain.probability(-2) == pytest.approx(1 - plain.probability(2))
    assert plain.probability(1e308) == 1.0
    assert plain.probability(-1e308) == 0.0
    assert Calibration(slope=2, intercept=-1).probability(0.5) == 0.5


def test_a_slope_that_turns_scores_round_is_refused() -> None:
    with pytest.raises(ConfigError, match="slope"):
        Calibration.parse({"slope": -1})


def test_the_threshold_is_the_rules_own_else_the_modes_else_the_general() -> None:
    policy = Policy(
        threshold=0.5,
        thresholds={Mode.INPUT: 0.7},
        rules={ANT: RulePolicy(threshold=0.2), BEE: RulePolicy(action=Response.FLAG)},
    )
    assert policy.threshold_of(ANT, Mode.INPUT) == 0.2
    assert policy.threshold_of(BEE, Mode.INPUT) == 0.7
    assert policy.threshold_of(None, Mode.INPUT) == 0.7
    assert policy.threshold_of(None, Mode.OUTPUT) == 0.5
    assert policy.floor(Mode.INPUT) == 0.2


def test_the_threshold_itself_counts_as_reached() -> None:
    policy = Policy(threshold=0.5, action=Response.LOG, rules={BEE: RulePolicy()})
    assert policy.response(0.5, None, Mode.INPUT) is Response.LOG
    assert policy.response(0.5, ANT, Mode.INPUT) is Response.LOG
    assert policy.response(0.5, BEE, Mode.INPUT) is Response.BLOCK
    assert policy.response(0.4999, BEE, Mode.INPUT) is None


@pytest.mark.parametrize(
    "values",
    [
        {"threshold": math.nan},
        {"threshold": 1.1},
        {"hold_back": -1},
        {"deadline": 0},
        {"on_failure": "log"},
        {"release": "late"},
        {"thresholds": {"inputs": 0.5}},
        {"rules": {"ant": {"action": "explode"}}},
    ],
)
def test_nonsense_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        Policy.parse(values)
