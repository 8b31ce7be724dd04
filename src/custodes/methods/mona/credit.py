"""What each step of an episode is credited with: the whole difference between the arms.

MONA: pi(s_i) = argmax r_instant(s_i, a) + r_approval(s_i, a) (arXiv 2501.13011, section 3): no
value and no gradient flows from later steps to earlier ones. Pure functions.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from custodes.errors import ConfigError

__all__ = ["ARMS", "Arm", "credited"]

Arm = Literal["ordinary", "mona", "mona-without-approval"]
ARMS: tuple[Arm, ...] = get_args(Arm)
"""Ordinary reinforcement learning, MONA, and MONA with the instant reward alone."""


def credited(instant: ArrayLike, approval: ArrayLike, arm: Arm) -> Any:
    """Credit of each step [..., T] from instant rewards and approvals [..., T].

    ordinary: the sum of both over this step and all later ones. mona: both, of this step.
    mona-without-approval: the instant reward of this step.
    """
    if arm not in ARMS:
        raise ConfigError(f"got the arm {arm!r}; expected one of {', '.join(ARMS)}")
    paid = np.asarray(instant, dtype=np.float64)
    if arm == "mona-without-approval":
        return paid
    both = paid + np.asarray(approval, dtype=np.float64)
    if arm == "mona":
        return both
    return np.flip(np.cumsum(np.flip(both, axis=-1), axis=-1), axis=-1)
