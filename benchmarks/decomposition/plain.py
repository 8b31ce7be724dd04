"""Both methods on a TMS as their papers write them: one seed, every row, loops where they loop.

The yardstick of the tests (same losses) and of the benchmark (how much faster is ours). Written
from the formulas; nothing is folded, skipped or blocked. Gates are computed once a step, where the
authors' code computes them twice, so the yardstick is not made slow.
"""

from __future__ import annotations

import torch
from torch.nn.functional import gelu


def network(x, embed, bias):
    """y, and the products after each matrix; embed [features, hidden]."""
    hidden = x @ embed
    before = hidden @ embed.T
    return torch.relu(before + bias), hidden, before


def apd_attributions(x, embed, bias, a, b):
    """One backward pass an output. a [C, features, m], b [C, m, hidden]: [N, C]."""
    hidden = (x @ embed).requires_grad_(True)
    before = hidden @ embed.T
    y = torch.relu(before + bias)
    first = torch.einsum("bi,cim,cmj->bcj", x, a, b)
    second = torch.einsum("bj,cmj,cim->bci", hidden.detach(), b, a)
    total = torch.zeros(len(x), len(a), dtype=x.dtype)
    for output in range(y.shape[1]):
        to_hidden, to_before = torch.autograd.grad(
            y[:, output].sum(), [hidden, before], retain_graph=True
        )
        change = torch.einsum("bj,bcj->bc", to_hidden, first)
        change = change + torch.einsum("bi,bci->bc", to_before, second)
        total = total + change.detach() ** 2
    return total


def apd_losses(x, embed, bias, a, b, *, top_k, p, weights):
    """Faithfulness, minimality, simplicity and their weighted total."""
    with torch.no_grad():
        wanted = network(x, embed, bias)[0]
    found = apd_attributions(x, embed, bias, a.detach(), b.detach())
    number = int(top_k * len(x))
    mask = torch.zeros(found.numel(), dtype=x.dtype)
    mask[found.reshape(-1).topk(number).indices] = 1
    mask = mask.reshape(found.shape)
    total = torch.einsum("cim,cmj->ij", a, b)
    parameters = 2 * embed.numel()
    faithfulness = 2 * ((embed - total) ** 2).sum() / parameters
    inner = torch.einsum("bi,cim->bcm", x, a) * mask[..., None]
    hidden = torch.einsum("bcm,cmj->bj", inner, b)
    inner = torch.einsum("bj,cmj->bcm", hidden, b) * mask[..., None]
    y = torch.relu(torch.einsum("bcm,cim->bi", inner, a) + bias)
    minimality = ((y - wanted) ** 2).mean()
    squares = (a**2).sum(dim=1) * (b**2).sum(dim=2)
    norms = ((squares + 1e-16) ** (p / 2)).sum(dim=1)
    simplicity = 2 * (mask * norms).sum() / parameters / len(x)
    parts = {"faithfulness": faithfulness, "minimality": minimality, "simplicity": simplicity}
    return {"total": sum(weights[name] * value for name, value in parts.items()), **parts}


def spd_gates(h, gates):
    """[N, C] -> importance logits, with all hidden neurons at once: [N, C, K] in between."""
    into, bias, out, offset = gates
    hidden = gelu(torch.einsum("nc,ck->nck", h, into) + bias)
    return torch.einsum("nck,ck->nc", hidden, out) + offset


def spd_losses(x, embed, bias, v, u, gates, masks, *, p, weights):
    """v [features, C], u [C, hidden]; gates and masks [N, C] in [0, 1] for both matrices.

    `masks`: r of the stochastic and of the layerwise loss, ((r1, r2), (r1, r2)).
    """
    with torch.no_grad():
        wanted, hidden, _ = network(x, embed, bias)
    logits = [spd_gates(x @ v, gates[0]), spd_gates(hidden @ u.T, gates[1])]
    lower = [torch.where(g > 0, g.clamp(max=1), 0.01 * g) for g in logits]
    upper = [torch.where(g > 1, 1 + 0.01 * (g - 1), torch.relu(g)) for g in logits]
    parameters = 2 * embed.numel()
    parts = {"faithfulness": 2 * ((embed - v @ u) ** 2).sum() / parameters}
    parts["importance"] = sum((g**p).sum(dim=1).mean() for g in upper)

    def run(first, second):
        hidden = x @ embed if first is None else ((x @ v) * first) @ u
        before = hidden @ embed.T if second is None else ((hidden @ u.T) * second) @ v.T
        return ((torch.relu(before + bias) - wanted) ** 2).mean()

    together, apart = ([g + (1 - g) * r for g, r in zip(lower, rs, strict=True)] for rs in masks)
    parts["stochastic"] = run(*together)
    parts["layerwise"] = (run(apart[0], None) + run(None, apart[1])) / 2
    return {"total": sum(weights[name] * value for name, value in parts.items()), **parts}
