"""Blocked passes over the cosines of two sets of unit rows, which never hold their matrix.

`candidates` keeps the best of every row and column. `Tight` keeps every pair that is close to
being worth more than its prices, so that when prices move a little no new pass is needed.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from custodes.methods.sae.assignment import Floats, Ints, Narrow

__all__ = ["BLOCK", "Tight", "candidates"]

BLOCK = 2048
_MARGIN = 0.02
_LEAST_MARGIN = 1e-4
_Pairs = tuple[Narrow, Narrow, NDArray[np.float32]]
_A_LINE = 64  # pairs kept a row or column; beyond, the margin is halved


def _blocks(rows: int, block: int) -> list[slice]:
    return [slice(start, min(start + block, rows)) for start in range(0, rows, block)]


def _merge(kept: tuple[Tensor, Tensor], new: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """Top values and indices along dim 1, of what is kept and of new columns from `start` on."""
    top = kept[0].shape[1]
    values, places = new.topk(min(top, new.shape[1]), dim=1)
    values, places = torch.cat([kept[0], values], 1), torch.cat([kept[1], places + start], 1)
    best, order = values.topk(top, dim=1)
    return best, places.gather(1, order)


def candidates(
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
            merged = _merge(of_columns, found.T.contiguous(), rows.start)
            columns_best[columns], columns_at[columns] = merged
        rows_best[rows], rows_at[rows] = of_rows
    return (rows_best, rows_at), (columns_best, columns_at)


class Tight:
    """Pairs whose cosine is above their prices less a margin; all of them, at any prices.

    Prices are those of the last pass. A pair that is not kept was then worth less than its prices
    by the margin, and so is no violation until they have fallen by as much: rows and columns whose
    price fell by more than half of it are passed over again, and nothing else is.

    `ceilings` [n], [m]: what no pair of a row, or of a column, is worth more than, but for pairs
    that prices are known to respect (candidates). A line whose price is above its ceiling needs no
    look.
    """

    def __init__(
        self, first: Tensor, second: Tensor, block: int, ceilings: tuple[Floats, Floats]
    ) -> None:
        self._sides = first, second
        self._ceilings = ceilings
        self._block = block
        self._margin = _MARGIN
        self._seen: tuple[Floats, Floats] | None = None
        # Narrow, since there are up to 64 pairs a line and this is most of a matching's memory.
        self.row = np.zeros(0, dtype=np.int32)
        self.column = np.zeros(0, dtype=np.int32)
        self.value = np.zeros(0, dtype=np.float32)

    def excess(self, u: Floats, v: Floats) -> Floats:
        """What each kept pair is worth above its prices u [n], v [m]."""
        self._look(u, v)
        return self.value - u[self.row] - v[self.column]

    def _look(self, u: Floats, v: Floats) -> None:
        rows, columns = np.arange(len(u)), np.arange(len(v))
        if self._seen is not None:
            fell = [old - new for old, new in zip(self._seen, (u, v), strict=True)]
            low, across = (np.flatnonzero(one > self._margin / 2) for one in fell)
            if len(low) + len(across) == 0:
                return
            if len(low) / len(u) + len(across) / len(v) < 0.5:
                # Whatever is passed over again is compared with prices of now: the reference of
                # the other side may only be the higher one, from which it can fall further.
                old = self._seen
                self._seen = np.maximum(old[0], u), np.maximum(old[1], v)
                self._seen[0][low], self._seen[1][across] = u[low], v[across]
                self._scan(low, columns, u, v)
                self._scan(rows, across, u, v)
                return
        self.row, self.column, self.value = self.row[:0], self.column[:0], self.value[:0]
        self._seen = u.copy(), v.copy()
        self._scan(rows, columns, u, v)

    def _scan(self, rows: Ints, columns: Ints, u: Floats, v: Floats) -> None:
        """Take in the close pairs of some rows with some columns."""
        if not len(rows) or not len(columns):
            return
        # A pair needs no look where its prices and the margin leave it above the row's ceiling.
        # Rows that allow most come first, cheap columns too: each block of rows meets few columns.
        room = self._ceilings[0][rows] + self._margin - u[rows]
        order = np.argsort(-room, kind="stable")
        rows, room = rows[order], room[order]
        least = float(u[rows].min())
        columns = columns[v[columns] + least - self._margin < self._ceilings[1][columns]]
        columns = columns[np.argsort(v[columns], kind="stable")]
        row_prices = torch.from_numpy(u[rows]).float()
        prices = torch.from_numpy(v[columns]).float()
        narrow_rows, narrow_columns = rows.astype(np.int32), columns.astype(np.int32)
        most = _A_LINE * max(len(u), len(v))
        parts = [(self.row, self.column, self.value)]
        kept = len(self.row)
        for down in _blocks(len(rows), self._block):
            first = self._sides[0][torch.from_numpy(rows[down])]
            cheap = int(np.searchsorted(v[columns], room[down.start]))
            for over in _blocks(cheap, 4 * self._block):
                second = self._sides[1][torch.from_numpy(columns[over])]
                worth = torch.addmm(-prices[over], first, second.T)
                close = worth > (row_prices[down] - self._margin)[:, None]
                i, j = close.nonzero(as_tuple=True)
                value = (worth[i, j] + prices[over][j]).numpy()
                i, j = down.start + i.numpy(), over.start + j.numpy()
                parts.append((narrow_rows[i], narrow_columns[j], value))
                kept += len(value)
            if kept > most and self._margin > _LEAST_MARGIN:
                self._margin /= 2
                parts = [self._closer(part, u, v) for part in parts]
                kept = sum(len(part[0]) for part in parts)
        again = len(self.row) > 0
        self.row, self.column, self.value = (
            np.concatenate(part) for part in zip(*parts, strict=True)
        )
        if again:  # what was known may have been found once more
            _, once = np.unique(self.column.astype(np.int64) * len(u) + self.row, return_index=True)
            self.row, self.column, self.value = self.row[once], self.column[once], self.value[once]

    def _closer(self, part: _Pairs, u: Floats, v: Floats) -> _Pairs:
        row, column, value = part
        close = value - u[row] - v[column] > -self._margin
        return row[close], column[close], value[close]
