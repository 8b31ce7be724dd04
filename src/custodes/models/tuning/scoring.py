"""Log-probabilities of given continuations, many prompts at once, each shared part computed once.

The continuations of a prompt are a tree of tokens behind it: `5`, `57` and `58` share a node. The
tree stands packed behind its prompt, each token seeing the prompt and its ancestors, so that the
hundred answers from 0 to 100 cost a hundred tokens and not a hundred prompts. Prompts that begin
alike (one question whose options are listed in another order) stand in one tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from custodes.errors import InputError
from custodes.models.tuning.model import TunableModel
from custodes.models.tuning.packed import parts_of, plan_attention
from custodes.models.tuning.rows import Row

__all__ = ["continuation_log_probs", "option_log_probs", "row_log_probs"]

_PASS = 4096
"""Tokens of a pass."""
_TREE = 512
"""Tokens of a tree of several prompts: every token looks at all of them."""


@torch.no_grad()
def row_log_probs(
    model: TunableModel, rows: Sequence[Row], *, mean: bool = False, exact: bool = True
) -> list[float]:
    """Each row's sum (or mean) of its targets' log-probabilities, in the order of the rows."""
    found = [0.0] * len(rows)
    for part in parts_of([len(row.ids) for row in rows], _PASS):
        packed = model.pack([rows[n] for n in part])
        states = model.states(packed).index_select(0, packed.source)
        logs = model.at(states, packed.target, exact=exact)
        sums = packed.sums(logs)
        if mean:
            sums = sums / packed.sums(torch.ones_like(logs))
        for n, value in zip(part, sums.tolist(), strict=True):
            found[n] = value
    return found


def option_log_probs(
    model: TunableModel, prompts: Sequence[str], options: Sequence[Sequence[str]], *, end: bool
) -> list[list[float]]:
    """Log-probability of each option as the whole reply (`end`) or its beginning.

    `prompts` are user turns; option n is read as a plain text behind the template's reply mark.
    """
    tail = [model.rows.turn_end] if end else []
    return continuation_log_probs(
        model,
        [model.rows.prompt(prompt) for prompt in prompts],
        [[[*model.rows.encode(option), *tail] for option in those] for those in options],
    )


@torch.no_grad()
def continuation_log_probs(
    model: TunableModel,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[Sequence[int]]],
    *,
    exact: bool = True,
) -> list[list[float]]:
    """Log-probability of each prompt's continuations, all as token ids.

    `InputError` for an empty prompt or continuation.
    """
    for prompt, rows in zip(prompts, continuations, strict=True):
        if not prompt or not all(rows):
            raise InputError("scoring: got an empty prompt or continuation; expected tokens")
    groups = _alike(prompts, [n for n, rows in enumerate(continuations) if rows])
    trees = [
        _Tree.of([(prompts[n], rest) for n in group for rest in continuations[n]])
        for group in groups
    ]
    found: list[list[float]] = [[] for _ in prompts]
    for part in parts_of([len(tree.ids) for tree in trees], _PASS):
        logs = _edges(model, [trees[n] for n in part], exact)
        for n, edges in zip(part, logs, strict=True):
            values = iter([sum(edges[edge] for edge in path) for path in trees[n].paths])
            for place in groups[n]:
                found[place] = [next(values) for _ in continuations[place]]
    return found


def _alike(prompts: Sequence[Sequence[int]], chosen: Sequence[int]) -> list[list[int]]:
    """The chosen prompts, by their numbers, in groups for one tree each: neighbors in the order of
    their tokens that share half of what they are."""
    groups: list[list[int]] = []
    size = 0
    before: Sequence[int] = ()
    for n in sorted(chosen, key=lambda n: tuple(prompts[n])):
        ids = prompts[n]
        new = len(ids) - _shared(before, ids)
        if groups and 2 * new <= len(ids) and size + new <= _TREE:
            groups[-1].append(n)
            size += new
        else:
            groups.append([n])
            size = len(ids)
        before = ids
    return groups


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """With how many tokens both begin."""
    for n, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return n
    return min(len(one), len(other))


@dataclass(frozen=True, slots=True)
class _Tree:
    """What rows of tokens begin with, and the nodes behind it that have children (a leaf is
    predicted, never read).

    `stem`: tokens that all rows share. `parents` of each node (-1: the stem's last token); an edge
    is (source, token), the source a place in `ids`; `paths`: the edges of each continuation.
    """

    ids: tuple[int, ...]
    stem: int
    parents: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    paths: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> _Tree:
        """Of prompts and continuations."""
        stem = tuple(pairs[0][0])
        for prompt, _ in pairs:
            stem = stem[: _shared(stem, prompt)]
        rows = [(*prompt[len(stem) :], *rest) for prompt, rest in pairs]
        inner = {row[:n] for row in rows for n in range(1, len(row))}
        nodes = sorted(inner, key=lambda node: (len(node), node))
        places = {(): len(stem) - 1} | {node: len(stem) + n for n, node in enumerate(nodes)}
        edges: dict[tuple[int, int], int] = {}
        paths = []
        for row, (_, rest) in zip(rows, pairs, strict=True):
            first = len(row) - len(rest)
            steps = [(places[row[:n]], row[n]) for n in range(first, len(row))]
            paths.append(tuple(edges.setdefault(step, len(edges)) for step in steps))
        parents = tuple(places[node[:-1]] - len(stem) for node in nodes)
        ids = (*stem, *(node[-1] for node in nodes))
        return cls(ids, len(stem), parents, tuple(edges), tuple(paths))

    def positions(self) -> list[int]:
        found = list(range(self.stem))
        for parent in self.parents:
            found.append(found[self.stem + parent] + 1)
        return found

    def mask(self) -> Tensor:
        """Who sees whom, bool [L, L]."""
        size = len(self.ids)
        seen = torch.ones(size, size, dtype=torch.bool).tril()
        seen[self.stem :, self.stem :] = False
        for n, parent in enumerate(self.parents):
            row = self.stem + n
            if parent >= 0:
                seen[row] = seen[self.stem + parent]
            seen[row, row] = True
        return seen


def _edges(model: TunableModel, trees: Sequence[_Tree], exact: bool) -> list[list[float]]:
    device = model.config.device
    lengths = [len(tree.ids) for tree in trees]
    masks = [tree.mask() for tree in trees] if any(tree.parents for tree in trees) else None
    starts = [sum(lengths[:n]) for n in range(len(trees))]
    states = model.run(
        torch.tensor([i for tree in trees for i in tree.ids], device=device),
        torch.tensor([p for tree in trees for p in tree.positions()], device=device),
        plan_attention(lengths, device, masks),
    )
    sources = [s + place for s, tree in zip(starts, trees, strict=True) for place, _ in tree.edges]
    wanted = [token for tree in trees for _, token in tree.edges]
    logs = model.at(
        states[torch.tensor(sources, device=device)],
        torch.tensor(wanted, device=device),
        exact=exact,
    ).tolist()
    found, at = [], 0
    for tree in trees:
        found.append(logs[at : at + len(tree.edges)])
        at += len(tree.edges)
    return found
