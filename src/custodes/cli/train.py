"""`custodes train`: labelled examples -> a guard, not yet calibrated."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

__all__ = ["train"]


def train(
    examples: Annotated[
        list[str],
        typer.Option(
            "--examples",
            help="A table (.parquet, .jsonl) or a set of the catalogue; again for more.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Run folder; the guard is out/guard.")],
    constitution: Annotated[
        str, typer.Option(help="The constitution that the examples were written from.")
    ] = "default",
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    size: Annotated[str | None, typer.Option(help="tiny, small or full.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Override a setting: --set seed=3")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of cached features.")] = None,
    kept_out: Annotated[
        float, typer.Option("--kept-out", help="Share of the examples kept out, twice.")
    ] = 0.1,
    unreleasable: Annotated[
        bool,
        typer.Option(
            "--allow-unreleasable",
            help="Also train on sets whose licence forbids releasing weights.",
        ),
    ] = False,
) -> None:
    """Train a guard on labelled examples.

    A share of the examples, by group, is kept out for `custodes calibrate` and another for
    `custodes evaluate`: out/calibration.parquet and out/test.parquet; what was trained on is
    out/train.parquet. Features of the language model are cached, so training again after a small
    change takes seconds. Nothing is written to --out before the guard is whole; a guard that
    stands there already is replaced.
    """
    from custodes import constitution as constitutions
    from custodes.cli.progress import stages
    from custodes.cli.sources import (
        card,
        check_place,
        partition,
        read_examples,
        smallest_budget,
    )
    from custodes.config import Run, cache_folder, load
    from custodes.data import write
    from custodes.guard.build import GuardConfig, build_guard

    chosen = [f"size={size}"] if size else []
    settings = load(GuardConfig, config, [*chosen, *(assignments or [])]).resolved()
    check_place(out, guard="guard")
    rules = constitutions.read(constitution)
    rows = read_examples(examples, unreleasable=unreleasable)
    parts = partition(rows, kept_out, seed=settings.seed)
    try:
        with stages() as progress:
            manifest = build_guard(
                parts["train"],
                rules,
                settings,
                folder=out / "guard",
                card=card(examples, parts["train"], rules, settings),
                cache=cache or cache_folder() / "features",
                progress=progress,
            )
    except KeyboardInterrupt:
        typer.echo(
            "custodes: interrupted; no guard was written. Features that were computed are cached: "
            "the same command goes on from there.",
            err=True,
        )
        raise typer.Exit(130) from None
    # After the guard: a training that fails leaves an older run as it was, tables and all.
    run = Run(out, settings, seed=settings.seed)
    for name, part in parts.items():
        write(out / f"{name}.parquet", part)
    run.log(event="trained", rows=len(parts["train"]), guard=manifest.sha256[:16])
    typer.echo(f"guard        {out / 'guard'}  ({manifest.sha256[:16]}, not calibrated)")
    typer.echo(f"trained on   {len(parts['train'])} examples")
    typer.echo(f"kept out     {out / 'calibration.parquet'} ({len(parts['calibration'])})")
    typer.echo(f"             {out / 'test.parquet'} ({len(parts['test'])})")
    typer.echo(
        f"next         custodes calibrate --guard {quote(str(out / 'guard'))} "
        f"--examples {quote(str(out / 'calibration.parquet'))} "
        f"--budget {smallest_budget(parts['calibration'])}"
    )
