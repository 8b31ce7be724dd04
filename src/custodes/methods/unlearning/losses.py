"""The losses that remove facts, as pure functions of log-probabilities or hidden states.

`logs` [rows]: natural-log probability of each row's answer, summed over its tokens; `lengths`
[rows]: how many tokens. Every function gives the loss on what is to be forgotten; the loss on
what must survive is added by the caller, as all these papers do.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

__all__ = [
    "grad_diff",
    "likelihood",
    "npo",
    "random_incorrect",
    "rmu_forget",
    "rmu_retain",
    "simnpo",
]


def likelihood(logs: Tensor, lengths: Tensor) -> Tensor:
    """Cross-entropy a token, what training lowers: -sum(logs) / sum(lengths)."""
    return -logs.sum() / lengths.sum()


def grad_diff(logs: Tensor, lengths: Tensor) -> Tensor:
    """Gradient ascent on the facts (GradDiff: Liu et al., arXiv 2203.12817; TOFU, arXiv 2401.06121,
    section 3.2): the likelihood loss with its sign changed. Not bounded below."""
    return -likelihood(logs, lengths)


def npo(logs: Tensor, reference: Tensor, *, beta: float) -> Tensor:
    """Negative preference optimization (arXiv 2404.05868, Eq. 3).

    -(2 / beta) mean log sigmoid(-beta (logs - reference)); `reference`: the same log-probabilities
    before the removal. Its gradient fades where a row is already unlikely; for beta -> 0 it is
    gradient ascent.
    """
    return -(2 / beta) * functional.logsigmoid(-beta * (logs - reference)).mean()


def simnpo(logs: Tensor, lengths: Tensor, *, beta: float, gamma: float) -> Tensor:
    """SimNPO (arXiv 2410.07163, Eq. 5): no reference, normalized by length, with a margin gamma.

    -(2 / beta) mean log sigmoid(-(beta / length) logs - gamma).
    """
    return -(2 / beta) * functional.logsigmoid(-beta * logs / lengths - gamma).mean()


def random_incorrect(logs: Tensor, lengths: Tensor) -> Tensor:
    """Training on an incorrect answer (arXiv 2410.08827, section 4): likelihood of rows whose
    answers the caller drew among the wrong ones."""
    return likelihood(logs, lengths)


def rmu_forget(states: Tensor, present: Tensor, control: Tensor) -> Tensor:
    """RMU (WMDP, arXiv 2403.03218, section 4): push states [B, T, d] to `control` [d].

    Mean square over the tokens that are `present` [B, T], and over d.
    """
    return _mean_square(states - control, present)


def rmu_retain(states: Tensor, frozen: Tensor, present: Tensor) -> Tensor:
    """RMU's other half: states of what must survive stay where the frozen model has them."""
    return _mean_square(states - frozen, present)


def _mean_square(differences: Tensor, present: Tensor) -> Tensor:
    weights = present.to(differences.dtype).unsqueeze(-1)
    total = (differences.square() * weights).sum()
    return total / (weights.sum() * differences.shape[-1]).clamp(min=1)
