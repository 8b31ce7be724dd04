"""The sections seeds and kinds: what seeds share along size, k, tokens, layer and kind."""

from __future__ import annotations

import argparse
from dataclasses import replace

from cells import NULLS, Cell, Shares, mean, shared
from kept import full
from stores import LAYER, Rows, rows_of

from custodes.methods.sae.jackknife import mean_over_pairs

__all__ = ["kinds", "seeds"]

Step = tuple[str, Shares, Shares, str]


def seeds(options: argparse.Namespace) -> list[dict]:
    """Size and k at layer 7, half of the tokens, other layers; signs are what counts."""
    data = rows_of(options, options.rows)
    middle = Cell(latents=2304, k=32, rows=data.trained)
    counts = (16, 64)
    if not full(options):
        middle, counts = replace(middle, latents=64, k=4), (2, 8)
    sizes = sorted({*options.sizes, middle.latents})
    by_size = {size: replace(middle, latents=size) for size in sizes}
    by_k = {k: replace(middle, k=k) for k in sorted({*counts, middle.k})}
    few = replace(middle, rows=data.trained // 2)
    layers = [replace(middle, layer=one) for one in options.layers if one != LAYER]
    found = {
        cell: shared(options, data, cell)
        for cell in dict.fromkeys([*by_size.values(), *by_k.values(), few, *layers])
    }
    named = {label(cell, data): values for cell, values in found.items()}
    steps = [
        ("rise with size", found[by_size[sizes[-1]]], found[by_size[sizes[0]]], "< 0"),
        ("rise with k", found[by_k[max(by_k)]], found[by_k[min(by_k)]], "< 0"),
        ("rise with tokens", found[middle], found[few], "> 0"),
    ]
    return share_rows(options, data, named, steps)


def kinds(options: argparse.Namespace) -> list[dict]:
    """ReLU and Gated (`--penalties`), and TopK whose k equals their L0."""
    data = rows_of(options, options.rows)
    latents = 2304 if full(options) else 64
    named, steps = {}, []
    for kind, sparsity in options.penalties.items():
        cell = Cell(kind=kind, latents=latents, sparsity=sparsity, rows=data.trained)
        found = shared(options, data, cell)
        k = min(max(round(mean(found["L0"])), 1), latents)
        alike = Cell(latents=latents, k=k, rows=data.trained)
        like = shared(options, data, alike)
        named |= {label(cell, data): found, label(alike, data): like}
        steps.append((f"{kind} above topk", found, like, "> 0"))
    return share_rows(options, data, named, steps)


def label(cell: Cell, data: Rows) -> str:
    """As rows are named: layer 7 and all tokens go without saying."""
    parts = [f"{cell.kind} F={cell.latents}{f' k={cell.k}' if cell.kind == 'topk' else ''}"]
    if cell.layer != LAYER:
        parts.append(f"layer {cell.layer}")
    if cell.rows != data.trained:
        parts.append("half of the tokens")
    return ", ".join(parts)


def share_rows(
    options: argparse.Namespace, data: Rows, named: dict[str, Shares], steps: list[Step]
) -> list[dict]:
    """Figures of every setting, and of each step from the second setting to the first.

    Intervals leave one seed out at a time: of a step, out of both its settings.
    """
    rows = [{"figure": "rows trained on", "value": float(data.trained)}]
    rows += [
        {"figure": f"{name}, {setting}", "value": mean_over_pairs(values[name])}
        for setting, values in named.items()
        for name in ("shared", "agreement")
    ]
    rows += [
        {"figure": f"{name}, {setting}", "value": mean(values[name])}
        for setting, values in named.items()
        for name in ("L0", "explained variance", "explained variance, mean over dimensions",
                     "dead", "certified")
    ]  # fmt: skip
    rows += [
        {"figure": f"{name}, {setting}", "value": values[name][0]}
        for name in NULLS
        for setting, values in named.items()
    ]
    if named:
        least = min(values[NULLS[1]][0] for values in named.values())
        rows.append({"figure": f"{NULLS[1]}, least of all settings", "value": least,
                     "target": "== 1"})  # fmt: skip
    for name, high, low, target in steps:
        gaps = [one - two for one, two in zip(high["shared"], low["shared"], strict=True)]
        rows.append({"figure": f"shared: {name}", "value": mean_over_pairs(gaps),
                     "target": target})  # fmt: skip
    return [{**row, "seeds": sorted(options.seeds)} for row in rows]
