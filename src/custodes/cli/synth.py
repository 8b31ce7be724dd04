"""`custodes synth`: a constitution -> labelled examples.

The table goes to stdout, the progress bar to stderr.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["synth"]

_TABLES = ("by_kind", "by_rule", "by_side", "by_transform", "by_language", "by_writer", "by_split")


def synth(
    out: Annotated[Path, typer.Option("--out", help="Folder; the rows are out/examples.parquet.")],
    constitution: Annotated[
        str, typer.Option(help="A constitution: a file, a folder, or a shipped name.")
    ] = "default",
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    size: Annotated[str | None, typer.Option(help="tiny, small or full.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same rows.")] = None,
    writer: Annotated[str | None, typer.Option(help="grammar or model.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Override a setting: --set varied=0.2")
    ] = None,
) -> None:
    """Write labelled examples from a constitution.

    Run it again after an interruption and it goes on; after a change of the constitution only the
    rules that changed are written anew.
    """
    from custodes import constitution as constitutions
    from custodes.cli.progress import stages
    from custodes.config import load
    from custodes.synthesis import SynthesisConfig, synthesize

    flags = {"size": size, "seed": seed, "writer": writer}
    chosen = [f"{name}={value}" for name, value in flags.items() if value is not None]
    settings = load(SynthesisConfig, config, [*chosen, *(assignments or [])])
    rules = constitutions.read(constitution)
    done, total = 0, 0
    try:
        with stages() as show:

            def progress(now: int, of: int) -> None:
                nonlocal done, total
                done, total = now, of
                show("writing", now / of)

            path = synthesize(rules, settings, out, progress=progress)
    except KeyboardInterrupt:
        kept = (
            f"{done} of {total} planned rows are done and kept in {out}"
            if total
            else "nothing was written yet"
        )
        typer.echo(f"custodes: interrupted; {kept}. Run the same command to go on.", err=True)
        raise typer.Exit(130) from None
    _print(json.loads((out / "summary.json").read_text(encoding="utf-8")), path)


def _print(summary: dict[str, Any], path: Path) -> None:
    for table in _TABLES:
        typer.echo(table.removeprefix("by_"))
        for name, count in summary[table].items():
            typer.echo(f"  {name:<32} {count:>8}")
    typer.echo("dropped")
    for reason, count in summary["dropped"].items():
        typer.echo(f"  {reason:<32} {count:>8}")
    if summary["unwritten_rules"]:
        typer.echo(f"no row for  {', '.join(summary['unwritten_rules'])} (nothing to write from)")
    blocks = summary["blocks"]
    typer.echo(f"blocks      {blocks['written']} written, {blocks['reused']} reused")
    typer.echo(f"rows        {summary['rows']} of {summary['planned']} planned: {path}")
