"""`custodes ensemble`: which stages belong together, by how little their errors have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custodes.types import Mode

if TYPE_CHECKING:
    from custodes.guard.members import Chosen, Scored
    from custodes.types import Example

__all__ = ["ensemble"]


def ensemble(
    guards: Annotated[
        list[str],
        typer.Option(
            "--guard",
            help="A guard: its stages that judge the mode are candidates; again for more.",
        ),
    ],
    examples: Annotated[
        list[str],
        typer.Option(
            "--examples",
            help="Labelled rows that no stage was trained on: a table, or a set of the catalogue "
            "(not a dev set); again for more.",
        ),
    ],
    mode: Annotated[Mode, typer.Option(help="How rows are judged.")] = Mode.INPUT,
    budget: Annotated[float, typer.Option(help="False refusals that recall is taken at.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Of the halves and of the bootstrap.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="JSON file of all figures; default: none.")
    ] = None,
) -> None:
    """Choose two stages and the weights of their logits, on half of the rows; measure on the rest.

    What counts is how far the mean of two logits separates harmful from benign rows, given how
    much the two err alike: not how good each is alone. Give stages that are calibrated: weights
    are of calibrated logits, as a guard's `weight` is.
    """
    from custodes.cli.sources import read_examples
    from custodes.errors import ConfigError
    from custodes.guard.members import choose_pair

    if not 0 < budget < 1:
        raise ConfigError(f"--budget: got {budget}, expected a share between 0 and 1, as 0.01")
    scored = _scored(guards, read_examples(examples, unreleasable=True), mode)
    chosen = choose_pair(scored, budget=budget, seed=seed)
    _tell(chosen, budget)
    if out is not None:
        _write(out, chosen)


def _scored(guards: list[str], examples: list[Example], mode: Mode) -> Scored:
    """What every stage says of the rows; a stage is named with its guard where names clash."""
    import numpy as np

    from custodes.classifiers import labelled_rows
    from custodes.errors import DataError
    from custodes.guard import load_guard
    from custodes.guard.members import Scored

    rows = labelled_rows(examples, [mode])
    if {row.label for row in rows} != {0, 1}:
        raise DataError(f"--examples: got {len(rows)} rows in mode {mode}; expected both labels")
    conversations = [row.judged.conversation for row in rows]
    logits = {}
    for guard in guards:
        for stage in load_guard(guard).cascade.serving(mode).stages:
            name = stage.scorer.name
            name = f"{Path(guard).name}/{name}" if len(guards) > 1 else name
            while name in logits:
                name += "'"
            points = stage.scorer.score(conversations, mode)
            logits[name] = np.array([point.logit for point in points])
    return Scored(
        labels=np.array([row.label for row in rows]),
        logits=logits,
        groups=[row.example.group or row.example.id for row in rows],
    )


def _tell(chosen: Chosen, budget: float) -> None:
    typer.echo(f"chosen on {chosen.rows[0]} rows, measured on {chosen.rows[1]} others")
    for pair in chosen.pairs:
        weights = " : ".join(f"{weight:.2f}" for weight in pair.weights)
        typer.echo(
            f"  {' + '.join(pair.names):<40} errors correlate {pair.correlation:+.2f}, "
            f"weights {weights}, separation {pair.separation:.2f}"
        )
    for name, figures in chosen.figures.items():
        told = ", ".join(f"{figure} {value}" for figure, value in figures.items())
        typer.echo(f"  {name:<40} {told} (recall at {budget:.1%})")
    typer.echo(
        f"chosen: {' + '.join(chosen.chosen.names)}; AUPRC over {chosen.best} alone: "
        f"{chosen.over_best:+.3f}"
    )


def _write(out: Path, chosen: Chosen) -> None:
    import json
    from dataclasses import asdict

    from custodes.config import write_atomically

    values = {
        "pairs": [asdict(pair) for pair in chosen.pairs],
        "chosen": asdict(chosen.chosen),
        "by_scores": asdict(chosen.by_scores),
        "best": chosen.best,
        "figures": {
            name: {figure: value.to_values() for figure, value in figures.items()}
            for name, figures in chosen.figures.items()
        },
        "over_best": chosen.over_best.to_values(),
        "rows": chosen.rows,
    }
    write_atomically(out, json.dumps(values, indent=2) + "\n")
