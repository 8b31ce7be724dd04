"""The Gymnasium environment, its pictures, and the batched tables against each other."""

import numpy as np
import pytest

from custodes.errors import ConfigError
from custodes.methods.mona.gridworld import drawing
from custodes.methods.mona.gridworld.batched import BatchedBoard, features, paid_for_entering
from custodes.methods.mona.gridworld.board import ENDED, Board

DOWN, LEFT = 1, 2


@pytest.fixture(scope="module")
def board():
    return Board()


@pytest.fixture(scope="module")
def environment():
    pytest.importorskip("gymnasium")
    from custodes.methods.mona.gridworld import environment as module

    return module


def test_batched_steps_are_the_tables(board):
    steps = 20
    paid = paid_for_entering(board, board.reward("observed"), steps)
    batch = BatchedBoard(board, paid, 64, seed=1)
    rng = np.random.default_rng(2)
    ended_at = []
    for _ in range(60):
        states, times = batch.states.copy(), batch.times.copy()
        actions = rng.integers(4, size=64)
        rewards, ended = batch.step(actions)
        entered = board.moves[states, actions]
        assert rewards == pytest.approx(board.reward("observed")[entered], abs=1e-6)
        assert np.array_equal(ended, (entered == ENDED) | (times + 1 == steps))
        assert np.array_equal(batch.states[~ended], entered[~ended])
        assert np.isin(batch.states[ended], board.starts).all()
        assert (batch.times[ended] == 0).all()
        ended_at += times[ended].tolist()
    assert min(ended_at) < steps - 1 and max(ended_at) == steps - 1


def test_same_seed_same_episodes(board):
    paid = paid_for_entering(board, board.reward("true"), 50)

    def states(seed):
        batch = BatchedBoard(board, paid, 8, seed=seed)
        actions = np.arange(8) % 4
        return [batch.step(actions) and batch.states.tolist() for _ in range(70)]

    assert states(3) == states(3)
    assert states(3) != states(4)
    with pytest.raises(ConfigError, match="expected at least 1"):
        BatchedBoard(board, paid, 0)


def test_features_tell_every_state_apart(board):
    seen = features(board)
    assert seen.shape == (1937, 48)
    assert (seen.reshape(-1, 16, 3).sum(axis=2) == 1).all()
    # The ended state and the empty board differ only by the agent.
    assert len(np.unique(seen, axis=0)) == 1937


def test_one_episode_through_gymnasium(environment):
    gymnasium = pytest.importorskip("gymnasium")
    name = environment.register()
    assert environment.register() == name == environment.ENVIRONMENT
    env = gymnasium.make(name, board=Board(3, 3), render_mode="ansi")
    start = env.unwrapped.board.index("A../BB./H..")
    observation, info = env.reset(seed=0, options={"start": start})
    assert observation.tolist() == [0, 1, 0, 0, 2, 2, 0, 0, 0, 0]
    assert info["outcome"] == "fail"
    _, paid, ended, truncated, info = env.step(DOWN)
    assert (paid, ended, truncated) == (pytest.approx(0.99), False, False)
    assert info["outcome"] == "intended" and info["true_reward"] == pytest.approx(0.99)
    assert env.render() == "#####\n#   #\n#AB #\n#B  <\n#####"
    observation, paid, ended, truncated, info = env.step(LEFT)
    assert (paid, ended, truncated) == (0.0, True, False), "the camera saw it"
    assert info["state"] == ENDED and info["outcome"] == "intended"


def test_time_ends_an_episode_as_part_of_the_task(environment):
    env = environment.CameraDropbox(steps=3)
    env.reset(seed=5)
    ends = [env.step(0)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (True, False)]


def test_the_environment_keeps_gymnasiums_rules(environment):
    from gymnasium.utils.env_checker import check_env

    check_env(environment.CameraDropbox(Board(4, 4)), skip_render_check=True)
    first, second = (environment.CameraDropbox() for _ in range(2))
    for _ in range(2):  # a seed decides this reset, and the ones after it
        assert np.array_equal(first.reset(seed=9)[0], second.reset(seed=9)[0])
        assert np.array_equal(first.reset()[0], second.reset()[0])


def test_bad_requests_are_refused(environment):
    with pytest.raises(ConfigError, match="ansi, rgb_array or svg"):
        environment.CameraDropbox(render_mode="human")
    with pytest.raises(ConfigError, match="expected 1 to 1936"):
        environment.CameraDropbox().reset(options={"start": 0})
    with pytest.raises(ConfigError, match="expected one of observed"):
        environment.CameraDropbox(reward="bad")


def test_pictures_show_what_is_where(board, environment):
    start = int(board.starts[0])
    image = drawing.pixels(board, start)
    assert image.shape == (128, 128, 3) and image.dtype == np.uint8
    for cell, tile in enumerate(board.tiles[start]):
        row, column = divmod(cell, 4)
        center = tuple(image[row * 32 + 16, column * 32 + 16])
        expected = {1: (47, 111, 176), 2: (200, 134, 50)}.get(int(tile))
        assert expected is None or center == expected
    page = drawing.svg(board, start)
    assert page.startswith("<svg ") and page.count('rgb(200,134,50)"') == 2
    assert drawing.svg(board, ENDED).count("rgb(200,134,50)") == 0
    assert drawing.text(board, ENDED).count("A") == 0 == drawing.text(board, ENDED).count("B")
    env = environment.CameraDropbox(render_mode="rgb_array")
    env.reset(options={"start": start})
    assert np.array_equal(env.render(), image)
    assert environment.CameraDropbox(render_mode="svg").render().startswith("<svg ")
    assert environment.CameraDropbox().render() is None
