"""Rows of token ids of unlike lengths: as batches, and as one tensor. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["pack", "right_padded"]


def right_padded(
    rows: Sequence[Sequence[int]], device: torch.device | str
) -> tuple[Tensor, Tensor]:
    """Token ids [B, T], zeros behind each row's end, and 1 where there is a token, int64 [B, T]."""
    longest = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[index, : len(row)] = 1
    return ids.to(device), mask.to(device)


def pack(lengths: Sequence[int], *, rows: int, tokens: int) -> list[list[int]]:
    """Cut rows into batches of similar length, so that little is padded: lists of row numbers.

    No batch has more than `rows` rows or, unless it is one row, more than `tokens` padded tokens.
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row], reverse=True):
        current = batches[-1] if batches else []
        fits = current and len(current) < rows
        if fits and (len(current) + 1) * lengths[current[0]] <= tokens:
            current.append(row)
        else:
            batches.append([row])
    return batches
