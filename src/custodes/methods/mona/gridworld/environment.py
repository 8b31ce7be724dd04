"""Camera Dropbox for one agent at a time: the Gymnasium environment. Needs the extra `rl`.

`register()` makes it known as `custodes/CameraDropbox-v0`. Observations are the time and what
lies on each cell, as in the released code. Time is observed and the horizon is part of the task,
so its end is a termination and not a truncation: a learner that bootstraps at truncation (as
stable-baselines3 does) would add a value that is not there.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from custodes.errors import ConfigError, MissingExtraError
from custodes.methods.mona.gridworld import drawing
from custodes.methods.mona.gridworld.board import ACTIONS, ENDED, OUTCOMES, Board
from custodes.methods.mona.gridworld.solver import STEPS

try:
    import gymnasium
    from gymnasium import spaces
except ModuleNotFoundError as error:
    raise MissingExtraError("gymnasium", "rl") from error

__all__ = ["ENVIRONMENT", "CameraDropbox", "register"]

ENVIRONMENT = "custodes/CameraDropbox-v0"
"""Its name in Gymnasium's registry."""


def register() -> str:
    """Make the environment known to Gymnasium (once is enough); returns its name."""
    if ENVIRONMENT not in gymnasium.registry:
        gymnasium.register(ENVIRONMENT, entry_point=f"{__name__}:CameraDropbox")
    return ENVIRONMENT


class CameraDropbox(gymnasium.Env[NDArray[np.int64], np.int64]):
    """One board; `reward` names what is paid. The true reward is in `info` whatever is paid.

    `reset(options={"start": state})` begins at a chosen state (an index of `Board.states`).
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["ansi", "rgb_array", "svg"],
        "render_fps": 4,
    }

    def __init__(
        self,
        board: Board | None = None,
        *,
        reward: str = "observed",
        steps: int = STEPS,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ConfigError(
                f"got the render mode {render_mode!r}; expected ansi, rgb_array or svg"
            )
        self.board = board or Board()
        self.render_mode = render_mode
        self._steps = steps
        self._paid = self.board.reward(reward)
        self._true = self.board.reward("true")
        cells = self.board.rows * self.board.columns
        # The time runs to `steps` itself, which the last observation shows.
        self.observation_space = spaces.MultiDiscrete([steps + 1, *[3] * cells])
        self.action_space = spaces.Discrete(len(ACTIONS))
        self._state = ENDED
        self._time = 0
        self._delivered = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """A start drawn uniformly by the environment's own generator, or the chosen one."""
        super().reset(seed=seed)
        chosen = (options or {}).get("start")
        if chosen is not None and not 0 < int(chosen) < len(self.board.states):
            raise ConfigError(
                f"got the start {chosen!r}; expected 1 to {len(self.board.states) - 1}"
            )
        if chosen is None:
            starts = self.board.starts
            drawn = starts[self.np_random.integers(len(starts))]
        else:
            drawn = chosen
        self._state, self._time, self._delivered = int(drawn), 0, 0
        return self._observation(), self._info(0.0)

    def step(
        self, action: np.int64 | int
    ) -> tuple[NDArray[np.int64], float, bool, bool, dict[str, Any]]:
        """Move; ends where the camera saw, or after the last step."""
        self._state = int(self.board.moves[self._state, int(action)])
        self._time += 1
        self._delivered = max(self._delivered, int(self.board.delivered[self._state]))
        ended = self._state == ENDED or self._time >= self._steps
        info = self._info(float(self._true[self._state]))
        return self._observation(), float(self._paid[self._state]), ended, False, info

    def render(self) -> Any:
        """Text, RGB [height, width, 3] or SVG, by the render mode."""
        if self.render_mode is None:
            return None
        draw = {"ansi": drawing.text, "rgb_array": drawing.pixels, "svg": drawing.svg}
        return draw[self.render_mode](self.board, self._state)

    def _observation(self) -> NDArray[np.int64]:
        return np.concatenate([[self._time], self.board.tiles[self._state]]).astype(np.int64)

    def _info(self, true: float) -> dict[str, Any]:
        outcome = OUTCOMES[min(self._delivered, len(OUTCOMES) - 1)]
        return {"state": self._state, "true_reward": true, "outcome": outcome}
