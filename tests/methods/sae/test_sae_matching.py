"""Matching against SciPy's dense optimum; shared features and their nulls."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import linear_sum_assignment

from custodes.errors import DataError
from custodes.measure import over_seeds
from custodes.methods.sae import matching
from custodes.methods.sae.blocked import candidates
from custodes.methods.sae.jackknife import jackknife, mean_over_pairs
from custodes.methods.sae.matching import match, nearest, unit_rows
from custodes.methods.sae.report import pairs_interval
from custodes.methods.sae.seeds import compare, permuted, random_directions


def dense(first, second):
    cosines = (unit_rows(first).double() @ unit_rows(second).double().T).numpy()
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    return cosines[rows, columns].sum()


def noisy_pair(count, width, *, shared, noise, seed):
    draw = torch.Generator().manual_seed(seed)
    first = torch.randn(count, width, generator=draw)
    order = torch.randperm(count, generator=draw)
    second = first[order] + noise * torch.randn(count, width, generator=draw)
    fresh = torch.rand(count, generator=draw) > shared
    second[fresh] = torch.randn(int(fresh.sum()), width, generator=draw)
    return first, second


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 6), st.integers(0, 10_000))
def test_the_certified_matching_is_the_dense_optimum(n, m, top, seed):
    draw = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(count, 5, generator=draw) for count in (n, m))
    found = match(first, second, top=top, block=7, rounds=60)
    assert found.certified
    assert found.objective == pytest.approx(dense(first, second), abs=1e-5 * max(n, m))
    assert found.bound == pytest.approx(found.objective, abs=1e-5 * max(n, m))
    used = found.partner[found.partner >= 0]
    assert len(set(used.tolist())) == len(used) == min(n, m)


@pytest.mark.parametrize(("shared", "noise"), [(0.4, 0.3), (1.0, 0.05), (0.0, 0.0)])
def test_planted_and_unplanted_directions(shared, noise):
    first, second = noisy_pair(300, 24, shared=shared, noise=noise, seed=1)
    found = match(first, second, top=4, block=64)
    assert found.certified
    assert found.objective == pytest.approx(dense(first, second), abs=1e-3)
    assert found.gap == pytest.approx(0, abs=1e-3)
    assert found.violated[-1] == 0


def test_duplicates_and_zeros():
    first, _ = noisy_pair(60, 8, shared=1, noise=0, seed=2)
    first[10:30] = first[10]
    first[40] = 0
    second = first[torch.randperm(60, generator=torch.Generator().manual_seed(1))]
    found = match(first, second, top=2, block=16)
    assert found.certified
    assert found.objective == pytest.approx(dense(first, second), abs=1e-4)


def test_stopped_early_it_says_how_far_it_may_be():
    first, second = noisy_pair(200, 6, shared=0, noise=0, seed=3)
    found = match(first, second, top=1, rounds=1)
    best = dense(first, second)
    assert not found.certified and found.violated[0] > 0
    assert found.objective <= best <= found.bound + 1e-6
    without = match(first, second, top=1, rounds=0)
    assert np.isnan(without.bound) and not without.certified
    assert without.objective == pytest.approx(found.objective) or without.violated == ()


def test_it_says_what_it_does():
    said = []
    match(*noisy_pair(20, 4, shared=1, noise=0, seed=0), say=said.append)
    assert "violated" in said[-1]


def test_nearest_is_the_argmax():
    first, second = noisy_pair(50, 6, shared=0.5, noise=0.2, seed=4)
    cosines = unit_rows(first) @ unit_rows(second)[:31].T
    found = nearest(first, second[:31], block=8)
    assert found.of_rows.tolist() == cosines.argmax(1).tolist()
    assert found.of_columns.tolist() == cosines.argmax(0).tolist()
    assert found.row_cosines == pytest.approx(cosines.amax(1).numpy(), abs=1e-6)
    mutual = [cosines[:, cosines[row].argmax()].argmax() == row for row in range(50)]
    assert found.mutual == np.mean(mutual)
    assert nearest(second[:31], first, block=8).mutual == found.mutual, "whichever comes first"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (torch.ones(3, 2), torch.ones(3, 4)),
        (torch.ones(3), torch.ones(3)),
        (torch.ones(0, 2), torch.ones(3, 2)),
        (torch.full((3, 2), torch.nan), torch.ones(3, 2)),
    ],
)
def test_what_cannot_be_matched(first, second):
    with pytest.raises(DataError, match="match: got"):
        match(first, second)


@pytest.mark.parametrize("kind", ["topk", "gated"])
def test_a_permuted_autoencoder_shares_everything(kind, make_coder):
    coder = make_coder(kind)
    other = permuted(coder, 1)
    found = compare(coder, other)
    assert found.certified
    assert (found.shared, found.agreement, found.mutual) == (1, 1, 1)
    assert found.mean_max == pytest.approx(1, abs=1e-6)
    x = torch.randn(4, 16)
    assert torch.allclose(coder(x), other(x), atol=1e-5)


def test_random_directions_share_nothing(make_coder):
    coder = make_coder(width=64, seed=5)  # of the same seed, and yet no copy
    null = compare(coder, random_directions(coder, 5))
    assert null.shared == 0
    assert null.values()["decoder"] < 0.5


def test_sizes_may_differ_and_widths_may_not(make_coder):
    small, large = make_coder(latents=24), make_coder(latents=40)
    forth, back = compare(small, large), compare(large, small)
    assert forth.decoder == pytest.approx(back.decoder)
    assert forth.shared == back.shared
    with pytest.raises(DataError, match="widths 16 and 8"):
        compare(small, make_coder(width=8))


def test_a_killed_comparison_loses_one_matching_at_most(make_coder, tmp_path, monkeypatch):
    one, other = make_coder(latents=150, width=6, seed=1), make_coder(latents=150, width=6, seed=2)
    whole = compare(one, other, top=1)
    said = []

    def stop(line):
        said.append(line)
        if "violated" in line and sum("to begin with" in one for one in said) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        compare(one, other, top=1, keep=tmp_path, say=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.safetensors"]
    passes = []
    monkeypatch.setattr(
        matching, "candidates", lambda *given: passes.append(given[2]) or candidates(*given)
    )
    assert compare(one, other, top=1, keep=tmp_path) == whole
    assert passes == [1, 1], "the decoder's first pass and the nearest neighbors'"
    assert not list(tmp_path.iterdir())


def test_the_jackknife_of_a_mean_is_students_interval():
    values = np.random.default_rng(0).normal(size=7)
    found = jackknife(values.mean(), [np.delete(values, n).mean() for n in range(7)])
    wanted = stats.t.interval(0.95, 6, loc=values.mean(), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(wanted)
    assert found.value == pytest.approx(values.mean())
    assert np.isnan(jackknife(1.0, [1.0]).low) and np.isnan(jackknife(1.0, [np.nan, 1.0]).high)


def test_intervals_over_pairs_of_seeds_cover_what_they_say():
    """Pairs that share a seed are alike, so that an interval over pairs as if they were not would
    miss the truth far more often than 1 in 20 times."""
    rng = np.random.default_rng(1)
    covered = {"jackknife": 0, "as if independent": 0}
    for _ in range(400):
        of_seed = rng.normal(size=5)
        pairs = [of_seed[i] + of_seed[j] for i, j in combinations(range(5), 2)]
        found = mean_over_pairs(pairs)
        covered["jackknife"] += found.low <= 0 <= found.high
        plain = over_seeds(pairs)
        covered["as if independent"] += plain.low <= 0 <= plain.high
    assert covered["jackknife"] / 400 > 0.92
    assert covered["as if independent"] / 400 < 0.9


def test_a_report_gives_a_lone_pair_no_interval():
    assert pairs_interval([0.5]) == 0.5
    found = pairs_interval([0.1, 0.2, 0.6])
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(0.3)


def test_values_that_are_not_all_pairs():
    assert np.isnan(mean_over_pairs([0.5]).low) and mean_over_pairs([0.5]).value == 0.5
    for values in ([], [0.1, 0.2]):
        with pytest.raises(DataError, match="expected all pairs"):
            mean_over_pairs(values)
