"""The shipped double keeps the contract of a scorer, and fails as told."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from custodes.classifiers.scripted import Fault, Pattern, ScriptedConfig, ScriptedScorer
from custodes.errors import ArtifactError, ConfigError
from custodes.types import Message, Mode, RuleId

CAKE = RuleId("cake")
PIE = RuleId("pie")
TABLE = (Pattern(regex="sponge", logit=3, rule=CAKE), Pattern(regex="crust", logit=5, rule=PIE))


def scorer(**values: object) -> ScriptedScorer:
    base = {"rules": (CAKE, PIE), "patterns": TABLE}
    return ScriptedScorer(ScriptedConfig.parse({**base, **values}))


def stream(double: ScriptedScorer, *pieces: str) -> list[tuple[int, float]]:
    opened = double.open((), Mode.INPUT)
    points = [point for piece in pieces for point in opened.push(piece)] + opened.finish()
    return [(point.end, point.logit) for point in points]


def test_points_come_every_step_and_at_the_end() -> None:
    assert [end for end, _ in stream(scorer(step=4), "0123456789")] == [4, 8, 10]
    assert [end for end, _ in stream(scorer(step=5), "0123456789")] == [5, 10]
    assert stream(scorer(), "") == [(0, -4.0)]


def test_the_greatest_pattern_counts_until_it_leaves_the_window() -> None:
    text = "A Sponge and a crust" + "." * 20
    logits = dict(stream(scorer(step=1, window=8), text))
    assert logits[7] == -4 and logits[8] == 3 and logits[20] == 5 and logits[40] == -4


def test_one_pattern_split_over_pieces_is_found() -> None:
    assert stream(scorer(), "a spo", "n", "ge!") == stream(scorer(), "a sponge!")


def test_the_rule_of_the_pattern_is_the_most_probable() -> None:
    conversation = (Message("user", "crust"),)
    (point,) = scorer().score([conversation], Mode.INPUT)
    assert point.rules.argmax() == 1
    assert point.rules.sum() == pytest.approx(1)
    (single,) = scorer(rules=(PIE,)).score([conversation], Mode.INPUT)
    assert single.rules.tolist() == [1]
    (nameless,) = scorer(rules=()).score([conversation], Mode.INPUT)
    assert nameless.rules.shape == (0,)


def test_context_counts_except_in_mode_output() -> None:
    conversation = (Message("user", "sponge?"), Message("assistant", "yes"))
    double = scorer(context_logit=2)
    (exchange,) = double.score([conversation], Mode.EXCHANGE)
    (output,) = double.score([conversation], Mode.OUTPUT)
    assert (exchange.logit, output.logit) == (-2, -4)


def test_faults_begin_where_told() -> None:
    assert math.isnan(stream(scorer(fault=Fault.NAN, fault_at=9), "0123456789")[-1][1])
    assert stream(scorer(fault=Fault.NAN, fault_at=99), "0123456789") == stream(
        scorer(), "0123456789"
    )
    assert stream(scorer(fault=Fault.SILENT), "0123456789") == []
    assert stream(scorer(fault=Fault.BACKWARDS, fault_at=9), "0123456789")[-1][0] < 8
    assert stream(scorer(fault=Fault.BEYOND), "0")[-1][0] > 1
    with pytest.raises(RuntimeError, match="told to raise at character 8"):
        stream(scorer(fault=Fault.RAISE), "0123456789")
    with pytest.raises(RuntimeError, match="when opened"):
        stream(scorer(fault=Fault.OPEN), "")


def test_a_stall_calls_the_sleep_it_was_given() -> None:
    slept: list[float] = []
    config = ScriptedConfig(fault=Fault.STALL, fault_at=8, stall_seconds=7)
    stream(ScriptedScorer(config, sleep=slept.append), "0123456789")
    assert slept == [7, 7]


def test_a_bad_expression_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a regular expression"):
        Pattern.parse({"regex": "(", "logit": 1})


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    double = scorer()
    double.save(tmp_path / "stage")
    loaded = ScriptedScorer.load(tmp_path / "stage")
    assert loaded.config == double.config
    assert (loaded.version, loaded.name) == (double.version, "scripted")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "missing"),
        ("{", "not a scripted scorer"),
        ("[]", "not a scripted scorer"),
        ('{"format": 1}', "not a scripted scorer"),
        ('{"format": 1, "config": {"step": 0}}', "not a scripted scorer"),
        ('{"format": 2}', "format 2, expected 1"),
    ],
)
def test_what_cannot_be_loaded_is_said(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "scripted.json").write_text(content)
    with pytest.raises(ArtifactError, match=message):
        ScriptedScorer.load(tmp_path)
