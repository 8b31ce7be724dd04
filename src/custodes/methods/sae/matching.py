"""Match two sets of directions one to one, at the greatest total cosine, without their matrix.

1. One blocked pass over the similarities keeps the top candidates of every row and column.
2. A sparse assignment on those (SciPy's shortest augmenting paths).
3. The dual prices of its solution, and one more blocked pass: a pair worth more than the prices
   of its two ends is violated. Violated pairs join the candidates and the assignment is solved
   again; where there are none, the solution is the optimum of the *dense* problem, proven by
   duality. The pass also keeps what is close to being violated, so that prices that moved a little
   are checked on that alone (`blocked.Tight`). Raising the prices until nothing is violated bounds
   what any matching could reach, so that a search that is stopped early still says how far it may
   be from the optimum.

The certificate fails while a row is left alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from custodes.data.atomic import replacing
from custodes.errors import DataError
from custodes.methods.sae.assignment import Edges, Floats, Ints
from custodes.methods.sae.blocked import BLOCK, Tight, candidates

__all__ = ["Assignment", "Nearest", "match", "nearest", "unit_rows"]

_TOLERANCE = 2e-6  # of a float32 cosine
_JOIN = 0.02  # pairs this close to being violated join with those that are: fewer rounds


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
        """Pairs that are each other's nearest, as a share of the more rows: the same both ways."""
        here = np.arange(len(self.of_rows))
        pairs = int((self.of_columns[self.of_rows] == here).sum())
        return pairs / max(len(self.of_rows), len(self.of_columns))


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


def nearest(first: Tensor, second: Tensor, *, block: int = BLOCK) -> Nearest:
    """Nearest neighbors by cosine, both ways, in one blocked pass."""
    _check(first, second)
    rows, columns = candidates(unit_rows(first), unit_rows(second), 1, block)
    return Nearest(
        of_rows=rows[1][:, 0].numpy(),
        row_cosines=rows[0][:, 0].double().numpy(),
        of_columns=columns[1][:, 0].numpy(),
        column_cosines=columns[0][:, 0].double().numpy(),
    )


def match(
    first: Tensor,
    second: Tensor,
    *,
    top: int = 16,
    rounds: int = 30,
    block: int = BLOCK,
    keep: Path | None = None,
    say: Callable[[str], object] | None = None,
) -> Assignment:
    """The matching of greatest total cosine of directions A [n, d] and B [m, d].

    `rounds` limits the search for violated pairs; 0 computes no certificate. `keep`: a file in
    which the pairs found so far are kept, so that a search that was killed goes on; it is removed
    at the end.
    """
    _check(first, second)
    if len(first) > len(second):
        turned = match(second, first, top=top, rounds=rounds, block=block, keep=keep, say=say)
        return _turned(turned, len(first))
    one, two = unit_rows(first), unit_rows(second)
    edges, ceilings, violated = _known(one, two, keep, top, block, say)
    tight = Tight(one, two, block, ceilings)
    bound, certified = np.nan, False
    while True:
        partner = edges.solve()
        worth = edges.worth(partner)
        if len(violated) == rounds:
            break
        u, v = edges.prices(partner, worth)
        excess = tight.excess(u, v)
        worst = np.zeros(len(one))
        np.maximum.at(worst, tight.row, excess)
        # u raised by each row's worst excess violates nothing: weak duality bounds every matching.
        bound = float((u + worst).sum() + v.sum())
        over = excess > _TOLERANCE
        violated.append(int(over.sum()))
        certified = not violated[-1] and bool((partner >= 0).all())
        if say is not None:
            say(f"matching: {len(edges.row):,} pairs, {violated[-1]:,} violated")
        joining = excess > -_JOIN if violated[-1] else over
        if certified or not edges.add(
            tight.row[joining], tight.column[joining], tight.value[joining]
        ):
            break
        _remember(keep, one, two, edges, ceilings, violated)
    if keep is not None:
        keep.unlink(missing_ok=True)
    cosines = np.where(partner >= 0, worth, np.nan)
    return Assignment(
        partner=partner,
        cosines=cosines,
        objective=float(np.nansum(cosines)),
        bound=bound,
        certified=certified,
        violated=tuple(violated),
    )


def _known(
    one: Tensor,
    two: Tensor,
    keep: Path | None,
    top: int,
    block: int,
    say: Callable[[str], object] | None,
) -> tuple[Edges, tuple[Floats, Floats], list[int]]:
    """Pairs, and what no other one of a row and of a column exceeds; of an earlier search with how
    many were violated in its rounds, or the first ones."""
    edges = Edges(len(one), len(two))
    if keep is not None and keep.exists():
        held = load_file(keep)
        if "row_ceiling" in held and torch.equal(held["sides"], _sides(one, two)):
            edges.add(held["row"].numpy(), held["column"].numpy(), held["value"].numpy())
            ceilings = held["row_ceiling"].numpy(), held["column_ceiling"].numpy()
            return edges, ceilings, held["violated"].tolist()
    by_row, by_column = candidates(one, two, top, block)
    row = np.repeat(np.arange(len(one)), by_row[1].shape[1])
    edges.add(row, by_row[1].flatten().numpy(), by_row[0].flatten().double().numpy())
    column = np.repeat(np.arange(len(two)), by_column[1].shape[1])
    edges.add(by_column[1].flatten().numpy(), column, by_column[0].flatten().double().numpy())
    if say is not None:
        say(f"matching: {len(edges.row):,} pairs to begin with")
    rows, columns = (best[:, -1].double().numpy() for best, _ in (by_row, by_column))
    _remember(keep, one, two, edges, (rows, columns), [])
    return edges, (rows, columns), []


def _sides(one: Tensor, two: Tensor) -> Tensor:
    """Tells what is matched from anything else."""
    return torch.tensor([f(side) for side in (one, two) for f in (len, _checksum)])


def _checksum(side: Tensor) -> int:
    return zlib.crc32(side.contiguous().numpy().tobytes())


def _remember(
    keep: Path | None,
    one: Tensor,
    two: Tensor,
    edges: Edges,
    ceilings: tuple[Floats, Floats],
    violated: list[int],
) -> None:
    if keep is None:
        return
    values = {
        "row": torch.from_numpy(edges.row),
        "column": torch.from_numpy(edges.column),
        "value": torch.from_numpy(edges.value),
        "row_ceiling": torch.from_numpy(ceilings[0]),
        "column_ceiling": torch.from_numpy(ceilings[1]),
        "violated": torch.tensor(violated, dtype=torch.long),
        "sides": _sides(one, two),
    }
    with replacing(keep) as temporary:
        save_file(values, temporary)


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
