"""The sparse assignment problem that `match` solves, and the dual prices of its solution.

Knows pairs and their cosines; nothing of directions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Edges", "Floats", "Ints", "Narrow"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Narrow = NDArray[np.int32]

_ALONE = -2.0


class Edges:
    """Pairs and their cosines, each pair once, sorted by column.

    Every row has a private partner of value -2, below any cosine, so that there is a solution.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.row = np.zeros(0, dtype=np.int64)
        self.column = np.zeros(0, dtype=np.int64)
        self.value = np.zeros(0)

    def add(self, row: Narrow | Ints, column: Narrow | Ints, value: NDArray[np.floating]) -> int:
        """Take in pairs; how many of them are new."""
        before = len(self.row)
        keys = np.concatenate([
            self.column * self.rows + self.row, column.astype(np.int64) * self.rows + row
        ])  # fmt: skip
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
