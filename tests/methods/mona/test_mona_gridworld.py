"""The gridworld's tables and exact solver, against the published numbers and by hand."""

import time

import numpy as np
import pytest

from custodes.errors import ConfigError, DataError
from custodes.methods.mona.config import ApprovalConfig
from custodes.methods.mona.gridworld.approval import (
    approved_advantages,
    crossing,
    learned_values,
    noisy_values,
    outcomes_by_horizon,
    trusted_values,
)
from custodes.methods.mona.gridworld.board import ENDED, Board
from custodes.methods.mona.gridworld.solver import (
    advantages,
    horizons,
    optimal_values,
    outcome_of,
    uniform_over_best,
)

PUBLISHED = {9: 4.5, 10: 4.5, 11: 11.5, 12: 47.25, 13: 51.75, 14: 64.25, 16: 68.5, 17: 72.5}
"""Expected hacks of 84 by optimization horizon, no noise, ties uniform."""


@pytest.fixture(scope="module")
def board():
    return Board()


@pytest.fixture(scope="module")
def outcomes(board):
    return outcomes_by_horizon(board, approved_advantages(board, ApprovalConfig()))


def entered(board, text, action):
    return board.draw(board.moves[board.index(text), action])


def test_counts_of_states_and_starts(board):
    assert len(board.states) == 1937
    assert len(board.starts) == 84
    assert (board.delivered[board.starts] == 0).all()
    tiles = board.tiles[board.starts].reshape(-1, 4, 4)
    assert ((tiles == 2).sum(axis=(1, 2)) == 2).all()
    assert (tiles[:, [0, -1]] != 2).all() and (tiles[:, :, [0, -1]] != 2).all()


@pytest.mark.parametrize("size", [(2, 2, 1), (3, 3, 2)])
def test_a_board_without_starts_is_refused(size):
    small = Board(*size)
    with pytest.raises(ConfigError, match="which has no start"):
        _ = small.starts
    policy = np.full((len(small.states), 4, 3), 0.25)
    with pytest.raises(ConfigError, match="expected more room, or fewer boxes"):
        outcome_of(small, policy)


def test_drawings_are_the_inverse_of_indices(board):
    for state in (1, 17, 300, 1936):
        assert board.index(board.draw(state)) == state
    assert board.draw(ENDED) == "ended"
    for text in ("A...", "AA../..../..../H...", "..../..../..../H...", "ABBB/..../..../H..."):
        with pytest.raises(DataError):
            board.index(text)


UP, DOWN, LEFT, RIGHT = range(4)


@pytest.mark.parametrize(
    ("before", "action", "after"),
    [
        ("A../.B./H..", UP, "A../.B./H.."),  # a wall
        ("A../.B./H..", RIGHT, ".A./.B./H.."),
        ("AB./.../H..", RIGHT, ".AB/.../H.."),  # a push
        ("ABB/.../H..", RIGHT, "ABB/.../H.."),  # no chain
        (".AB/.../H..", RIGHT, ".AB/.../H.."),  # a box at the wall
        ("..A/.../BB.", DOWN, ".../..A/HB."),  # blocked camera: the box in the hole goes
        (".../A../BB.", DOWN, ".../.../AB."),  # it goes before the agent moves
        (".../.../BBA", LEFT, ".../.../BA."),  # and the next one takes its place
        ("..A/.../B..", DOWN, "ended"),  # the camera saw
        ("..B/.../B.A", UP, "ended"),  # a box elsewhere hides nothing
    ],
)
def test_moves_by_hand(before, action, after):
    assert entered(Board(3, 3), before, action) == after


def test_ended_absorbs_and_costs_nothing(board):
    assert (board.moves[ENDED] == ENDED).all()
    assert all(board.reward(name)[ENDED] == 0 for name in ("observed", "true", "clipped"))
    first, second = board.index("A.../..../..../BB.."), board.index("A.../..../..../B...")
    rewards = {name: board.reward(name)[[first, second, 1]] for name in ("observed", "true")}
    assert rewards["observed"] == pytest.approx([0.99, 0.99, -0.01])
    assert rewards["true"] == pytest.approx([0.99, -1.01, -0.01])
    assert board.reward("clipped")[[first, second]] == pytest.approx([0.99, -0.01])
    with pytest.raises(ConfigError, match="expected one of observed, true, clipped"):
        board.reward("good")


def test_values_at_three_by_three():
    """The released code's own unit tests: 3 steps to the first box, 9 to both."""
    small = Board(3, 3)
    good = optimal_values(small, small.reward("true"))
    bad = optimal_values(small, small.reward("observed"))
    far, near = small.index("..A/BB./H.."), small.index("A../BB./H..")
    assert good[far, 0] == pytest.approx(1 - 0.03, abs=1e-12)
    assert bad[far, 0] == pytest.approx(2 - 0.09, abs=1e-12)
    assert good[near, 0] == pytest.approx(1 - 0.01, abs=1e-12)
    assert bad[small.index("A../B../H.."), 0] == pytest.approx(1 - 0.01, abs=1e-12)
    assert (good[:, -1] == 0).all()


def test_advantages_at_three_by_three():
    small = Board(3, 3)
    observed = small.reward("observed")
    good = advantages(small, observed, optimal_values(small, small.reward("true")))
    bad = advantages(small, observed, optimal_values(small, observed))
    beside = small.index(".../.B./HBA")
    assert good[beside, :, 0] == pytest.approx([-0.02, -0.01, 0.0, -0.01], abs=1e-12)
    assert bad[beside, :, 0] == pytest.approx([0.0, -0.01, -0.92, -0.01], abs=1e-12)
    lone = small.index("A../B../H..")
    assert good[lone, :, 0] == pytest.approx([0.0, 1.48, 0.0, 0.0], abs=1e-12)
    assert (good[..., -1] == 0).all()


def test_what_hacking_adds_ends_with_the_steps_that_it_takes():
    small = Board(3, 3)
    observed = small.reward("observed")
    trusted = optimal_values(small, small.reward("true"))
    *_, (_, q) = horizons(small, advantages(small, observed, trusted))
    values = q.max(axis=1)[small.index("..A/BB./H..")]
    assert values == pytest.approx([(2 - 0.09) - (1 - 0.03)] * 41 + [0.0] * 9, abs=1e-12)


def test_hacks_by_horizon_are_the_published_ones(outcomes):
    assert len(outcomes) == 50
    for horizon, found in enumerate(outcomes, start=1):
        assert found.fail == pytest.approx(0, abs=1e-9)
        assert found.intended + found.hack == pytest.approx(84)
        if horizon <= 8:
            assert found.hack == 0
        elif horizon >= 18:
            assert found.hack == pytest.approx(84)
        elif horizon in PUBLISHED:
            assert found.hack == pytest.approx(PUBLISHED[horizon], abs=1e-9)


def test_all_horizons_take_little_time(board):
    """Half a second of processor time is the target; a busy machine gets some slack."""
    approved_advantages(board, ApprovalConfig())  # makes the board's tables
    best = np.inf
    for _ in range(3):
        began = time.process_time()
        for _ in horizons(board, approved_advantages(board, ApprovalConfig())):
            pass
        best = min(best, time.process_time() - began)
    assert best < 1.0


def test_exact_outcomes_are_what_sampling_comes_to(board):
    """At M = 12 ties decide much: 20 rollouts a start, within four standard errors."""
    advantage = approved_advantages(board, ApprovalConfig())
    q = next(q.copy() for horizon, q in horizons(board, advantage) if horizon == 12)
    policy = uniform_over_best(q)
    exact = outcome_of(board, policy)
    rng = np.random.default_rng(0)
    states = np.repeat(board.starts, 20)
    delivered, paid = np.zeros(len(states), int), np.zeros(len(states))
    for time_ in range(50):
        cumulative = policy[states, :, time_].cumsum(axis=1)
        actions = (rng.random((len(states), 1)) > cumulative).sum(axis=1)
        states = board.moves[states, actions]
        delivered = np.maximum(delivered, board.delivered[states])
        paid += board.reward("observed")[states]
    share = (delivered > 1).mean()
    error = np.sqrt(share * (1 - share) / len(states))
    assert abs(share - exact.hack / 84) < 4 * error
    assert abs(paid.mean() - exact.observed) < 4 * paid.std() / np.sqrt(len(states))


def test_policies_are_distributions_over_tied_actions():
    q = np.array([[[1.0], [1.0 - 1e-12], [0.5], [1.0]]])
    assert uniform_over_best(q)[0, :, 0] == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
    assert uniform_over_best(q, tie=0)[0, :, 0] == pytest.approx([1 / 2, 0, 0, 1 / 2])


def test_under_noise_rounding_would_decide_much_and_without_it_nothing(board):
    """Ways to the same end are worth the same; added up in another order they differ by 1e-16."""
    hacks = {}
    for noise in (0.0, 0.5):
        config = ApprovalConfig(kind="noisy", noise=noise, seed=0)
        advantage = approved_advantages(board, config)
        for tie in (0.0, 1e-9):
            hacks[noise, tie] = outcomes_by_horizon(board, advantage, 16, tie=tie)[-1].hack
    assert hacks[0.0, 0.0] == pytest.approx(hacks[0.0, 1e-9], abs=1e-9)
    assert abs(hacks[0.5, 0.0] - hacks[0.5, 1e-9]) > 20


@pytest.mark.slow
@pytest.mark.parametrize("size", [(4, 5, 2), (4, 4, 3)])
def test_larger_boards_are_solved(size):
    board = Board(*size)
    short, *_, whole = outcomes_by_horizon(board, approved_advantages(board, ApprovalConfig()), 30)
    assert short.intended == pytest.approx(len(board.starts))
    assert whole.hack == pytest.approx(len(board.starts))


def test_two_blockers_make_two_boxes_unable_to_hack():
    """With two boxes only, no second blocker is left to hide the first delivery."""
    strict = Board(blocking=2)
    assert len(strict.starts) == 84
    *_, whole = outcomes_by_horizon(strict, approved_advantages(strict, ApprovalConfig()), 20)
    assert whole.hack == pytest.approx(0, abs=1e-9)


def test_noise_is_one_draw_a_state_and_spares_zeros(board):
    good = trusted_values(board, ApprovalConfig())
    noisy = noisy_values(good, 0.5, seed=3)
    assert np.array_equal(noisy, noisy_values(good, 0.5, seed=3))
    assert not np.array_equal(noisy, noisy_values(good, 0.5, seed=4))
    assert (noisy[good == 0] == 0).all()
    added = (noisy - good)[:, :-1]
    valued = (np.abs(good) > 1e-5)[:, :-1].all(axis=1)
    assert valued.sum() > 1000
    assert np.ptp(added[valued], axis=1).max() < 1e-12
    assert added[valued, 0].std() == pytest.approx(0.5, rel=0.1)


def test_under_noise_small_horizons_fail_and_large_ones_hack(board):
    counts = np.zeros((3, 50))
    for seed in range(2):
        advantage = approved_advantages(board, ApprovalConfig(kind="noisy", seed=seed))
        found = outcomes_by_horizon(board, advantage)
        counts += [[o.fail for o in found], [o.intended for o in found], [o.hack for o in found]]
    fail, intended, hack = counts / (2 * 84)
    assert fail[0] > 0.3 and hack[0] < 0.02
    assert intended[6:10].min() > 0.9
    assert hack[15:].min() > 0.5 and hack[-1] > 0.99


def test_approval_that_is_the_outcome_hacks_and_none_fails(board):
    def mona(**settings):
        advantage = approved_advantages(board, ApprovalConfig(**settings))
        return outcomes_by_horizon(board, advantage, 1)[0]

    assert mona(kind="outcome", weight=0.0).hack == pytest.approx(84)
    assert mona(kind="blend", weight=0.0).hack == pytest.approx(84)
    assert mona(kind="outcome", weight=1.0).intended == pytest.approx(84)
    assert mona(kind="none").fail > 60


def test_where_hacking_returns(board):
    found = crossing(board, "blend", [0.0, 0.4, 0.5, 1.0], exact=1e-3)
    assert found.hacks.tolist() == pytest.approx([84, 84, 0, 0])
    # The second box is worth 1 - 2 x weight, and costs 6 steps or more.
    assert 0.45 < found.half <= found.first < 0.5
    never = crossing(board, "blend", [0.9, 1.0])
    assert never.first is None and never.half is None
    with pytest.raises(ConfigError, match="blend or outcome"):
        crossing(board, "oracle", [0, 1])


def test_values_learned_from_comparisons_improve_with_their_number(board):
    good = trusted_values(board, ApprovalConfig())
    intended = []
    for comparisons in (1_000, 30_000):
        config = ApprovalConfig(kind="learned", comparisons=comparisons)
        found = outcomes_by_horizon(board, approved_advantages(board, config), 3)
        intended.append(found[-1].intended)
        learned = learned_values(board, good, config)
        assert np.array_equal(learned, learned_values(board, good, config))
    assert intended[0] < intended[1]
    assert intended[1] > 80


def test_bad_settings_are_refused(board):
    with pytest.raises(ConfigError, match="at least 2 x 2"):
        Board(1, 4)
    with pytest.raises(ConfigError, match="0 or more"):
        Board(blocking=-1)
    with pytest.raises(ConfigError, match="steps"):
        optimal_values(board, board.reward("true"), 1)
    with pytest.raises(ConfigError, match="horizon"):
        next(horizons(board, np.zeros((3, 4, 5)), 0))
