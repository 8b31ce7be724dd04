"""Match two sets of directions one to one, at the greatest total cosine, without their matrix.

1. One blocked pass over the similarities keeps the top candidates of every row and column.
2. A sparse assignment on those (SciPy's shortest augmenting paths).
3. The dual prices of its solution, and one more blocked pass: a pair worth more than the prices
   of its two ends is violated. Violated pairs join the candidates and the assignment is solved
   again; where there are none, the solution is the optimum of the *dense* problem, proven by
   duality. Raising the prices until nothing is violated bounds what any matching could reach, so
   that a search that is stopped early still says how far it may be from the optimum.

Every row has a private partner of value -2, below any cosine, so that the sparse problem always
has a solution; the certificate fails while one of these is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from custodes.errors import DataError

__all__ = ["Assignment", "Nearest", "match", "nearest", "unit_rows"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ALONE = -2.0
_A_ROW = 8  # violated pairs that a row may add in one round
_BLOCK = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A matching of the rows of A [n, d] with those of B [m, d].

    `partner` [n]: row of B, or -1. `cosines` [n], NaN where there is no partner. `objective`: sum
    of the cosines. `bound`: no matching of the dense problem exceeds it; NaN where not computed.
    `certified`: nothing is violated beyond the tolerance. `violated`: pairs found in each round.
    """

    partner: Ints
    cosines: Floats
    objective: float
    bound: float
    certified: bool
    violated: tuple[int, ...]

    @property
    def gap(self) -> float:
        """How far the objective may be below the optimum."""
        return self.bound - self.objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """Nearest neighbors both ways: index and cosine for the rows of A, and for those of B."""

    of_rows: Ints
    row_cosines: Floats
    of_columns: Ints
    column_cosines: Floats

    @property
    def mutual(self) -> float:
        """Share of A's rows that are the nearest of their own nearest."""
        here = np.arange(len(self.of_rows))
        return float((self.of_columns[self.of_rows] == here).mean())


def unit_rows(directions: Tensor) -> Tensor:
    """Rows of length 1, float32; rows of 0 stay 0 and have cosine 0 with everything."""
    rows = directions.detach().float()
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / lengths.clamp(min=1e-12)


def _check(first: Tensor, second: Tensor) -> None:
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise DataError(
            f"match: got {tuple(first.shape)} and {tuple(second.shape)}; expected [n, d] and [m, d]"
        )
    if not len(first) or not len(second):
        raise DataError("match: got no directions")
    if not (torch.isfinite(first).all() and torch.isfinite(second).all()):
        raise DataError("match: got directions that are not finite")


def _blocks(rows: int, block: int) -> list[slice]:
    return [slice(start, min(start + block, rows)) for start in range(0, rows, block)]


def _merge(kept: tuple[Tensor, Tensor], new: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """Top values and indices along dim 1, of what is kept and of new columns from `start` on."""
    top = kept[0].shape[1]
    values, places = new.topk(min(top, new.shape[1]), dim=1)
    values, places = torch.cat([kept[0], values], 1), torch.cat([kept[1], places + start], 1)
    best, order = values.topk(top, dim=1)
    return best, places.gather(1, order)


def _candidates(
    first: Tensor, second: Tensor, top: int, block: int
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Top cosines and indices of every row [n, top], and of every column [m, top]."""

    def empty(count: int, most: int) -> tuple[Tensor, Tensor]:
        many = min(top, most)
        return torch.full((count, many), -torch.inf), torch.zeros(count, many, dtype=torch.long)

    columns_best, columns_at = empty(len(second), len(first))
    rows_best, rows_at = empty(len(first), len(second))
    for rows in _blocks(len(first), block):
        of_rows = (rows_best[rows], rows_at[rows])
        for columns in _blocks(len(second), 4 * block):
            found = first[rows] @ second[columns].T
            of_rows = _merge(of_rows, found, columns.start)
            of_columns = (columns_best[columns], columns_at[columns])
            merged = _merge(of_columns, found.T, rows.start)
            columns_best[columns], columns_at[columns] = merged
        rows_best[rows], rows_at[rows] = of_rows
    return (rows_best, rows_at), (columns_best, columns_at)


def nearest(first: Tensor, second: Tensor, *, block: int = _BLOCK) -> Nearest:
    """Nearest neighbors by cosine, both ways, in one blocked pass."""
    _check(first, second)
    rows, columns = _candidates(unit_rows(first), unit_rows(second), 1, block)
    return Nearest(
        of_rows=rows[1][:, 0].numpy(),
        row_cosines=rows[0][:, 0].double().numpy(),
        of_columns=columns[1][:, 0].numpy(),
        column_cosines=columns[0][:, 0].double().numpy(),
    )


class _Edges:
    """The sparse problem: pairs and their cosines, each pair once, sorted by column."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.row = np.zeros(0, dtype=np.int64)
        self.column = np.zeros(0, dtype=np.int64)
        self.value = np.zeros(0)

    def add(self, row: Ints, column: Ints, value: Floats) -> int:
        """Take in pairs; how many of them are new."""
        before = len(self.row)
        keys = np.concatenate([self.column * self.rows + self.row, column * self.rows + row])
        values = np.concatenate([self.value, value])
        kept, where = np.unique(keys, return_index=True)  # of a pair given twice, the first
        self.row, self.column = kept % self.rows, kept // self.rows
        self.value = values[where]
        return len(kept) - before

    def solve(self) -> Ints:
        """Partner of each row: a column, or -1 for its private one."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import min_weight_full_bipartite_matching

        alone = np.arange(self.rows)
        # Costs are above 0, since SciPy reads 0 as no edge.
        costs = np.concatenate([2 - self.value, np.full(self.rows, 2 - _ALONE)])
        row = np.concatenate([self.row, alone])
        column = np.concatenate([self.column, self.columns + alone])
        graph = csr_array((costs, (row, column)), shape=(self.rows, self.columns + self.rows))
        _, found = min_weight_full_bipartite_matching(graph)
        partner: Ints = np.where(found < self.columns, found, -1).astype(np.int64)
        return partner

    def worth(self, partner: Ints) -> Floats:
        """Cosine of each row with its partner; of a private one, -2."""
        found = np.full(self.rows, _ALONE)
        of_pair = partner[self.row] == self.column
        found[self.row[of_pair]] = self.value[of_pair]
        return found

    def prices(self, partner: Ints, worth: Floats) -> tuple[Floats, Floats]:
        """Dual prices u [n], v [m] of an optimal matching: u + v >= cosine, equal on matches.

        v is the least one that is at least 0: the longest paths (Bellman and Ford) over arcs from
        a matched column to every other column that its row knows, of what the change would gain.
        Optimality means that no cycle gains, so they end.
        """
        gain = self.value - worth[self.row]
        tail = partner[self.row]
        # -1 stands for the private partner, whose price is 0: one more place at the end.
        price = np.zeros(self.columns + 1)
        starts = np.flatnonzero(np.diff(self.column, prepend=-1))
        heads = self.column[starts]
        for _ in range(self.columns + 1):
            reached = np.maximum.reduceat(price[tail] + gain, starts)
            better = reached > price[heads] + 1e-12
            if not better.any():
                break
            price[heads[better]] = reached[better]
        return worth - price[partner], price[:-1]


def _violated(
    first: Tensor, second: Tensor, prices: tuple[Floats, Floats], tolerance: float, block: int
) -> tuple[tuple[Ints, Ints, Floats], Floats]:
    """Pairs worth more than their prices (the worst few of a row), and each row's worst excess."""
    u, v = (torch.from_numpy(price) for price in prices)
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    worst = torch.zeros(len(first), dtype=torch.float64)
    for rows in _blocks(len(first), block):
        for columns in _blocks(len(second), 4 * block):
            cosines = first[rows] @ second[columns].T
            excess = (cosines - v[columns].float()) - u[rows].float()[:, None]
            most = excess.amax(1)
            worst[rows] = torch.maximum(worst[rows], most.double())
            bad = (most > tolerance).nonzero()[:, 0]
            if not len(bad):
                continue
            over, at = excess[bad].topk(min(_A_ROW, excess.shape[1]), dim=1)
            row, place = (over > tolerance).nonzero(as_tuple=True)
            column = at[row, place]
            value = cosines[bad[row], column].double()
            pairs.append((bad[row] + rows.start, column + columns.start, value))
    if not pairs:
        none = np.zeros(0, dtype=np.int64)
        return (none, none, np.zeros(0)), worst.numpy()
    row, column, value = (torch.cat(part) for part in zip(*pairs, strict=True))
    return (row.numpy(), column.numpy(), value.numpy()), worst.numpy()


def match(
    first: Tensor,
    second: Tensor,
    *,
    top: int = 16,
    rounds: int = 30,
    tolerance: float = 2e-6,
    block: int = _BLOCK,
    say: Callable[[str], object] | None = None,
) -> Assignment:
    """The matching of greatest total cosine of directions A [n, d] and B [m, d].

    `rounds` limits the search for violated pairs; 0 computes no certificate. The tolerance is
    that of a float32 cosine.
    """
    _check(first, second)
    if len(first) > len(second):
        return _turned(
            match(second, first, top=top, rounds=rounds, tolerance=tolerance, block=block, say=say),
            len(first),
        )
    one, two = unit_rows(first), unit_rows(second)
    edges = _first_edges(one, two, top, block)
    violated: list[int] = []
    bound, certified = np.nan, False
    while True:
        partner = edges.solve()
        worth = edges.worth(partner)
        if len(violated) == rounds:
            break
        u, v = edges.prices(partner, worth)
        pairs, worst = _violated(one, two, (u, v), tolerance, block)
        # u raised by each row's worst excess violates nothing: weak duality bounds every matching.
        bound = float((u + np.maximum(worst, 0)).sum() + v.sum())
        violated.append(len(pairs[0]))
        certified = not violated[-1] and bool((partner >= 0).all())
        if say is not None:
            say(f"matching: {len(edges.row):,} pairs, {violated[-1]:,} violated")
        if certified or not edges.add(*pairs):
            break
    cosines = np.where(partner >= 0, worth, np.nan)
    return Assignment(
        partner=partner,
        cosines=cosines,
        objective=float(np.nansum(cosines)),
        bound=bound,
        certified=certified,
        violated=tuple(violated),
    )


def _first_edges(one: Tensor, two: Tensor, top: int, block: int) -> _Edges:
    by_row, by_column = _candidates(one, two, top, block)
    edges = _Edges(len(one), len(two))
    row = np.repeat(np.arange(len(one)), by_row[1].shape[1])
    edges.add(row, by_row[1].flatten().numpy(), by_row[0].flatten().double().numpy())
    column = np.repeat(np.arange(len(two)), by_column[1].shape[1])
    edges.add(by_column[1].flatten().numpy(), column, by_column[0].flatten().double().numpy())
    return edges


def _turned(found: Assignment, rows: int) -> Assignment:
    """The matching seen from the other side."""
    partner = np.full(rows, -1, dtype=np.int64)
    cosines = np.full(rows, np.nan)
    matched = found.partner >= 0
    partner[found.partner[matched]] = np.flatnonzero(matched)
    cosines[found.partner[matched]] = found.cosines[matched]
    return Assignment(
        partner=partner,
        cosines=cosines,
        objective=found.objective,
        bound=found.bound,
        certified=found.certified,
        violated=found.violated,
    )
