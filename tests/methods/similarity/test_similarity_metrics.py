import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from custodes.errors import DataError
from custodes.methods.similarity import (
    METRICS,
    Pair,
    agreement,
    agreement_when_both_wrong,
    capa,
    cohen_kappa,
    error_consistency,
    error_correlation,
    fleiss_kappa,
    harden,
    jensen_shannon,
    scott_pi,
    self_similarity_ceiling,
    temper,
)
from custodes.methods.similarity.answers import one_hot, pad
from custodes.methods.similarity.metrics import find_metric


@st.composite
def soft_pairs(draw, one_hot_rows=False):
    """Two models' ragged rows and labels; sometimes the same model twice, sometimes sharp."""
    count = draw(st.integers(1, 30))
    seed = draw(st.integers(0, 2**32 - 1))
    sharpness = draw(st.sampled_from([0.05, 0.5, 1.0, 20.0]))
    widest = draw(st.integers(2, 12))
    rng = np.random.default_rng(seed)
    options = rng.integers(2, widest + 1, count)
    labels = [int(rng.integers(k)) for k in options]

    def rows():
        found = [rng.dirichlet(np.full(k, sharpness)) for k in options]
        return [np.eye(len(row))[row.argmax()] for row in found] if one_hot_rows else found

    first = rows()
    return first, first if draw(st.booleans()) else rows(), labels


def reference(peer, first, second, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 0/0 at the degenerate case
        return float(peer.compute_k(first, second, labels))


def assert_equal_to(peer, ours, theirs):
    """To 1e-12; near 0/0 both lose digits in proportion to the room that chance leaves."""
    room = 1 - float(peer.expected)
    if room <= 1e-12:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(theirs, abs=1e-12 / min(1.0, room))


@settings(max_examples=100)
@given(soft_pairs())
def test_probabilistic_capa_is_that_of_lmsim(lmsim, case):
    peer = lmsim.CAPA(prob=True)
    theirs = reference(peer, *case)
    assert_equal_to(peer, capa(*case), theirs)


@settings(max_examples=100)
@given(soft_pairs(one_hot_rows=True))
def test_discrete_capa_is_that_of_lmsim(lmsim, case):
    peer = lmsim.CAPA(prob=False)
    theirs = reference(peer, *case)
    assert_equal_to(peer, capa(*case, soft=False), theirs)
    hard = lmsim.CAPA(prob=True)
    theirs = reference(hard, *case)
    assert_equal_to(hard, capa(*case), theirs)


@settings(max_examples=100)
@given(soft_pairs())
def test_error_consistency_is_that_of_lmsim(lmsim, case):
    peer = lmsim.EC()
    theirs = reference(peer, *case)
    assert_equal_to(peer, error_consistency(*case), theirs)


def test_soft_rows_are_refused_where_lmsim_gives_nonsense(lmsim):
    rng = np.random.default_rng(0)
    first, second = (list(rng.dirichlet(np.ones(4), 200)) for _ in range(2))
    labels = [int(label) for label in rng.integers(0, 4, 200)]
    nonsense = reference(lmsim.CAPA(prob=False), first, second, labels)
    with pytest.raises(DataError, match="one-hot"):
        capa(first, second, labels, soft=False)
    right = capa(harden(np.array(first)), harden(np.array(second)), labels, soft=False)
    assert abs(nonsense - right) > 0.1


def test_capa_by_hand():
    first = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3]])
    second = np.array([[0.6, 0.2, 0.2], [0.1, 0.1, 0.8]])
    observed = (0.48 + 0.02 + 0.02 + 0.02 + 0.05 + 0.24) / 2
    right = ((0.8 + 0.5) / 2, (0.6 + 0.1) / 2)
    expected = right[0] * right[1] + 0.5 * (1 - right[0]) * (1 - right[1])
    assert capa(first, second, [0, 1]) == pytest.approx((observed - expected) / (1 - expected))


def test_chance_uses_each_questions_own_number_of_options():
    rows = [[0.5, 0.5], [0.25, 0.25, 0.25, 0.25]]
    right = 0.375
    expected = right**2 + (1 + 1 / 3) / 2 * (1 - right) ** 2
    assert capa(rows, rows, [0, 3]) == pytest.approx((0.375 - expected) / (1 - expected))


def test_rest_of_the_family_by_hand():
    first, second = one_hot([0, 1, 2, 0], 3), one_hot([0, 1, 1, 2], 3)
    labels = [0, 0, 0, 1]
    assert agreement(first, second, labels) == 0.5
    assert agreement_when_both_wrong(first, second, labels) == pytest.approx(1 / 3)
    cohen = (0.5 - (0.5 * 0.25 + 0.25 * 0.5 + 0.25 * 0.25)) / (1 - 0.3125)
    assert cohen_kappa(first, second, labels) == pytest.approx(cohen)
    pooled = (0.375**2) * 2 + 0.25**2
    assert scott_pi(first, second, labels) == pytest.approx((0.5 - pooled) / (1 - pooled))
    assert error_consistency(first, second, labels) == 1.0
    assert error_correlation(first, second, labels) == pytest.approx(1.0)
    assert jensen_shannon(first, second, labels) == pytest.approx(0.5)
    assert jensen_shannon(first, first, labels) == 0.0


def test_fleiss_of_two_raters_is_scott():
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 4, (2, 300))
    pi = scott_pi(one_hot(first, 4), one_hot(second, 4), np.zeros(300, dtype=int))
    assert fleiss_kappa([first, second]) == pytest.approx(pi)


@given(soft_pairs())
def test_laws_of_the_family(case):
    first, second, labels = case
    pair, turned = Pair.of(first, second, labels), Pair.of(second, first, labels)
    for metric in METRICS.values():
        value, mirrored = metric.of(pair), metric.of(turned)
        assert value == pytest.approx(mirrored, abs=1e-12, nan_ok=True), metric.name
        assert math.isnan(value) or value <= 1 + 1e-9, metric.name
    found, ceiling = METRICS["capa"].of(pair), self_similarity_ceiling(first, second, labels)
    assume(not math.isnan(found))
    assert found <= ceiling + 1e-9


@given(soft_pairs())
def test_a_permutation_of_options_changes_nothing(case):
    first, second, labels = case
    turned = [[row[::-1] for row in rows] for rows in (first, second)]
    mirrored = [len(row) - 1 - label for row, label in zip(first, labels, strict=True)]
    right = [np.mean([row[at] for row, at in zip(rows, labels, strict=True)])
             for rows in (first, second)]  # fmt: skip
    assume(1 - right[0] * right[1] > 1e-5)  # else it is a ratio of roundings
    expected = capa(first, second, labels)
    assert capa(*turned, mirrored) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_both_perfect_is_nan_and_not_a_number():
    perfect = np.eye(3)
    labels = [0, 1, 2]
    for value in (
        capa(perfect, perfect, labels),
        capa(perfect, perfect, labels, soft=False),
        error_consistency(perfect, perfect, labels),
        error_correlation(perfect, perfect, labels),
        agreement_when_both_wrong(perfect, perfect, labels),
    ):
        assert math.isnan(value)


def test_one_perfect_model_is_no_degenerate_case():
    wrong = np.roll(np.eye(3), 1, axis=1)
    assert capa(np.eye(3), wrong, [0, 1, 2]) == 0.0


def test_ceiling_is_the_models_own_similarity_and_one_for_one_hot():
    rng = np.random.default_rng(0)
    soft, labels = rng.dirichlet(np.ones(4), 100), rng.integers(0, 4, 100)
    own = capa(soft, soft, labels)
    assert own < 0.7
    assert self_similarity_ceiling(soft, soft, labels) == pytest.approx(own)
    assert self_similarity_ceiling(harden(soft), harden(soft), labels) == pytest.approx(1.0)
    sharper = capa(temper(soft, 0.1), temper(soft, 0.1), labels)
    assert own < sharper < 1.0


def test_tensors_count_as_arrays():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    first, second = rng.dirichlet(np.ones(4), (2, 50))
    labels = rng.integers(0, 4, 50)
    tensors = [torch.tensor(rows, requires_grad=True) for rows in (first, second)]
    assert capa(*tensors, labels) == capa(first, second, labels)


@pytest.mark.parametrize(
    ("first", "second", "labels", "says"),
    [
        ([[0.5, 0.4]], [[0.5, 0.5]], [0], "question 0.*sum"),
        ([[0.5, 0.5], [1.2, -0.2]], [[0.5, 0.5], [0.5, 0.5]], [0, 0], "question 1.*negative"),
        ([[0.5, float("nan")]], [[0.5, 0.5]], [0], "question 0.*sum"),
        ([[1.0]], [[1.0]], [0], "1 options"),
        ([[0.5, 0.5]], [[0.5, 0.5]], [2], "label 2"),
        ([[0.5, 0.5]], [[0.5, 0.5]], [-1], "label -1"),
        ([[0.5, 0.5]], [[0.5, 0.5]], [0.0], "indices"),
        ([[0.5, 0.5]], [[0.5, 0.5]], [0, 1], "1 questions"),
        ([[0.5, 0.5]], [[0.5, 0.3, 0.2]], [0], "same"),
        ([[0.5, 0.5]], [], [0], "same"),
        ([], [], np.zeros(0, dtype=int), "no questions"),
        (np.ones(3), np.ones(3), [0], "shape"),
        ([[[0.5, 0.5]]], [[0.5, 0.5]], [0], "one row"),
        ([["a", "b"]], [[0.5, 0.5]], [0], "not numbers"),
    ],
)
def test_what_is_no_answer_is_refused(first, second, labels, says):
    with pytest.raises(DataError, match=says):
        capa(first, second, labels)


def test_more_refusals():
    with pytest.raises(DataError, match="jensen-shannon"):
        find_metric("kappa")
    with pytest.raises(DataError, match="temperature"):
        temper(np.eye(2), 0)
    for choices in ([[0, 1]], [[0.5], [0.5]], [[], []], [0, 1]):
        with pytest.raises(DataError, match="at least two"):
            fleiss_kappa(choices)
    with pytest.raises(DataError, match="negative"):
        fleiss_kappa([[0], [-1]])


def test_padding_remembers_the_options():
    padded, options = pad([[0.5, 0.5], [0.2, 0.3, 0.5]])
    assert padded.tolist() == [[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]
    assert options.tolist() == [2, 3]


def test_two_models_silent_on_the_same_questions_do_not_err_alike():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    rows = []
    for _ in range(2):
        wrong = (labels + rng.integers(1, 4, 400)) % 4
        row = np.eye(4)[np.where(rng.random(400) < 0.4, labels, wrong)]
        row[::2] = 0.25  # no answer, counted as uniform
        rows.append(row)
    assert METRICS["both-wrong"].of(Pair.of(*rows, labels)) == pytest.approx(1 / 3, abs=0.1)
    assert METRICS["error-consistency"].of(Pair.of(*rows, labels)) == pytest.approx(0, abs=0.15)
