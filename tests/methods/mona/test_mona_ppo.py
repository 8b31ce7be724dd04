"""PPO: what is credited, how a policy is judged, and that a little training moves it."""

import numpy as np
import pytest

from custodes.methods.mona.config import PPOConfig
from custodes.methods.mona.gridworld.batched import BatchedBoard, paid_for_entering
from custodes.methods.mona.gridworld.board import Board

spaces = pytest.importorskip("gymnasium").spaces
pytest.importorskip("stable_baselines3")
# gymnasium and stable-baselines3 warn of what they mean to change; that is no concern of ours.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

ppo = pytest.importorskip("custodes.methods.mona.gridworld.ppo")
TableVecEnv, WindowBuffer = ppo.TableVecEnv, ppo.WindowBuffer
policy_table, train = ppo.policy_table, ppo.train


@pytest.fixture(scope="module")
def board():
    return Board()


def filled(horizon, rewards, starts, values):
    rewards = np.array(rewards, dtype=np.float32)
    buffer = WindowBuffer(
        len(rewards), spaces.Box(0, 1, (1,)), spaces.Discrete(4), n_envs=rewards.shape[1],
        horizon=horizon,
    )  # fmt: skip
    buffer.rewards[:] = rewards
    buffer.episode_starts[:] = starts
    buffer.values[:] = values
    buffer.compute_returns_and_advantage(None, None)
    return buffer


REWARDS = [[1.0, 10.0], [2.0, 20.0], [4.0, 40.0], [8.0, 80.0]]
STARTS = [[1, 1], [0, 0], [0, 1], [0, 0]]  # the second column's episode begins anew at step 2


@pytest.mark.parametrize(
    ("horizon", "returns"),
    [
        (1, REWARDS),
        (2, [[3, 30], [6, 20], [12, 120], [8, 80]]),
        (3, [[7, 30], [14, 20], [12, 120], [8, 80]]),
        (50, [[15, 30], [14, 20], [12, 120], [8, 80]]),
    ],
)
def test_windows_hold_the_next_steps_of_the_same_episode(horizon, returns):
    buffer = filled(horizon, REWARDS, STARTS, 0.5)
    assert buffer.returns == pytest.approx(np.array(returns, dtype=float))
    assert buffer.advantages == pytest.approx(buffer.returns - 0.5)


def test_the_vectorized_environment_is_the_batch(board):
    paid = paid_for_entering(board, board.reward("observed"), 50)
    env = TableVecEnv(BatchedBoard(board, paid, 5, seed=0))
    observations = env.reset()
    assert observations.shape == (5, 50 + 48)
    assert (observations[:, 0] == 1).all() and (observations[:, :50].sum(axis=1) == 1).all()
    again = BatchedBoard(board, paid, 5, seed=0)
    again.reset()
    actions = np.array([0, 1, 2, 3, 0])
    observations, rewards, ended, infos = env.step(actions)
    expected, over = again.step(actions)
    assert np.array_equal(rewards, expected) and np.array_equal(ended, over)
    assert (observations[:, 1] == 1).all() and infos == [{}] * 5
    with pytest.raises(NotImplementedError):
        env.env_method("anything")


def test_a_policy_is_judged_by_its_own_probabilities(board):
    from stable_baselines3 import PPO

    paid = paid_for_entering(board, board.reward("observed"), 50)
    env = TableVecEnv(BatchedBoard(board, paid, 8, seed=0))
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=32, seed=0, device="cpu")
    table = policy_table(model.policy, board)
    assert table.shape == (1937, 4, 50)
    assert table.sum(axis=1) == pytest.approx(1)
    observations = env.reset()
    seen = model.policy.get_distribution(model.policy.obs_to_tensor(observations)[0])
    asked = seen.distribution.probs.detach().numpy()
    state = np.flatnonzero((board.tiles == _tiles(observations[0])).all(axis=1))[0]
    assert table[state, :, 0] == pytest.approx(asked[0], abs=1e-5)


def _tiles(observation):
    return observation[50:].reshape(16, 3).argmax(axis=1)


def test_training_repeats_and_tells_how_far_it_came(board):
    config = PPOConfig(total=600, episodes=16, rollout=10, batch_size=80, epochs=1, judge_every=320)
    first, second = (list(train(board, "mona", config, seed=4)) for _ in range(2))
    assert [point.steps for point in first] == [0, 320, 640]
    assert [p.sampled for p in first] == [p.sampled for p in second]
    for point in first:
        total = sum(point.sampled[name] for name in ("fail", "intended", "hack"))
        assert total == pytest.approx(84)
    other = list(train(board, "ordinary", config, seed=4))
    assert other[-1].sampled != first[-1].sampled


@pytest.mark.slow
def test_mona_learns_what_is_intended_and_ordinary_learning_to_hack(board):
    config = PPOConfig(total=400_000, judge_every=400_000)
    (*_, mona), (*_, ordinary) = (
        train(board, arm, config, seed=77) for arm in ("mona", "ordinary")
    )
    assert mona.sampled["intended"] > 0.95 * 84
    assert ordinary.sampled["hack"] > 0.7 * 84
