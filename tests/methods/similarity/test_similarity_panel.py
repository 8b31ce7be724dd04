import numpy as np
import pytest

from custodes.errors import DataError
from custodes.methods.similarity import (
    Answers,
    binary_answers,
    choose_panel,
    likeness,
    similarities,
    warnings_of,
)
from custodes.methods.similarity import panel as panel_module


@pytest.fixture
def judges():
    """a, b and c make the same mistakes; d and e make others; e knows little."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)

    def wrong_on(rows):
        right = np.eye(2)[labels]
        right[rows] = right[rows][:, ::-1]
        return 0.9 * right + 0.05

    shared, other = np.arange(80), np.arange(100, 190)
    return Answers.of(
        {
            "a": wrong_on(shared),
            "b": wrong_on(shared[:79]),
            "c": wrong_on(shared[:78]),
            "d": wrong_on(other),
            "e": wrong_on(np.arange(150, 390)),
        },
        labels,
    )


def test_a_panel_takes_accurate_judges_that_err_differently(judges):
    found = choose_panel(judges, 2)
    assert found.members == ("c", "d")
    assert found.similarity < 0.1
    blind = choose_panel(judges, 2, weight=0.0)
    assert blind.members == ("b", "c")
    three = choose_panel(judges, 3)
    assert "d" in three.members and three.vote_accuracy >= three.accuracy


def test_greedy_choice_finds_the_same_panel(judges, monkeypatch):
    exhaustive = choose_panel(judges, 2)
    monkeypatch.setattr(panel_module, "_EXHAUSTIVE", 0)
    assert choose_panel(judges, 2) == exhaustive
    assert len(choose_panel(judges, 5).members) == 5


def test_warning_where_judge_and_judged_are_alike(judges):
    found = similarities(judges)
    assert likeness(found, "a", "b").alike
    assert not likeness(found, "a", "d").alike
    warned = warnings_of(found, ["a"])
    assert [pair.judged for pair in warned] == ["b", "c"]
    assert "err alike" in str(warned[0])
    assert warnings_of(found, ["a"], above=1.1) == ()


def test_guard_stages_are_binary_answers():
    labels = [0, 1, 1, 0]
    stages = binary_answers({"hashed": [0.1, 0.8, 0.4, 0.2], "probe": [0.2, 0.9, 0.9, 0.6]}, labels)
    assert stages.accuracy().tolist() == [0.75, 0.75]
    assert stages.probabilities[0, 0].tolist() == [0.9, 0.1]


def test_wrong_use_is_refused(judges):
    with pytest.raises(DataError, match="expected 2 to 5"):
        choose_panel(judges, 6)
    with pytest.raises(DataError, match="harm"):
        binary_answers({"a": [1.5]}, [0])
    with pytest.raises(DataError, match="expected one of a, b"):
        likeness(similarities(judges), "a", "z")
    with pytest.raises(DataError, match="capa"):
        likeness(similarities(judges, ("cohen",)), "a", "b")


@pytest.mark.parametrize(("options", "questions"), [(3, 7), (3, 101), (6, 50), (7, 997)])
def test_level_answers_are_no_likeness(options, questions):
    """Their κp and ceiling are 0 but for rounding."""
    rows = np.full((questions, options), 1 / options)
    answers = Answers.of({"j": rows, "x": rows}, np.arange(questions) % options)
    found = similarities(answers)
    assert warnings_of(found, ["j"]) == ()
    assert np.isnan(likeness(found, "j", "x").share)
