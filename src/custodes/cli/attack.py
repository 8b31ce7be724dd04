"""`custodes attack`: attack a guard, a model or a gateway, and harden a guard by what passed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from custodes.errors import ConfigError

if TYPE_CHECKING:
    from custodes.engine import Engine
    from custodes.redteam.campaign import Campaign, CampaignConfig
    from custodes.redteam.refusals import Refusals

__all__ = ["attack", "transcripts"]


def _print_names(value: bool) -> None:
    if value:
        from custodes.redteam.attack import attack_names

        typer.echo("\n".join(attack_names()))
        raise typer.Exit


def attack(
    out: Annotated[Path, typer.Option("--out", help="Run folder; run again to go on.")],
    target: Annotated[
        str | None,
        typer.Option(
            help="guard:FOLDER (prompts only), guarded:FOLDER (before the embedded model), model, "
            "or a gateway's address such as http://127.0.0.1:8080/v1."
        ),
    ] = None,
    questions: Annotated[
        str | None, typer.Option(help="A shipped question set, or a file (YAML, CSV, JSON).")
    ] = None,
    attacks: Annotated[
        str | None,
        typer.Option(
            help="Names by commas, as base64,pair,best_of_n+rot13; default: all that need no model "
            "of their own, with --attacker those too."
        ),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Queries of one attack on one question.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    size: Annotated[str | None, typer.Option(help="tiny, small or full.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same campaign.")] = None,
    attacker: Annotated[
        str | None, typer.Option(help="A model that writes attacks, such as embedded.")
    ] = None,
    traffic: Annotated[
        list[str] | None,
        typer.Option("--traffic", help="Benign table or set whose refusals are counted."),
    ] = None,
    harden: Annotated[
        int, typer.Option(min=0, help="Rounds of retraining on what got through.")
    ] = 0,
    run: Annotated[
        Path | None,
        typer.Option(help="With --harden: the folder of custodes train that made the guard."),
    ] = None,
    engine: Annotated[str, typer.Option(help="serial, thread, process, or ray.")] = "serial",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a setting: --set target.model.kind=x"),
    ] = None,
    _names: Annotated[
        bool,
        typer.Option(
            "--list", callback=_print_names, is_eager=True, help="Print the attacks' names."
        ),
    ] = False,
) -> None:
    """Attack a system and report what got through.

    Without settings: the shipped proxy questions (home fermentation, harmless) against the embedded
    model behind a guard. The report holds success by attack, question and budget, universal
    attacks, false refusals on benign neighbors; every transcript is in transcripts.html.
    """
    from custodes.cli.engines import make_engine
    from custodes.cli.sources import check_place
    from custodes.config import cache_folder

    flags = {
        "questions": questions,
        "size": size,
        "seed": seed,
        "budget": budget,
        "attacks": _listed(attacks),
        "target": _target(target),
        "attacker": {"kind": attacker} if attacker else None,
        "traffic": traffic or None,
    }
    if run is not None and not harden:
        raise ConfigError("--run: is for --harden ROUNDS, which was not given")
    # JSON is YAML in which nothing of a value, such as the # of a path, means anything.
    chosen = [f"{name}={json.dumps(value)}" for name, value in flags.items() if value is not None]
    settings = _settings(config, [*chosen, *(assignments or [])])
    check_place(out)
    runner = make_engine(engine, ["batch_size=1"])
    cache = cache_folder() / "replies"
    if harden:
        _harden(settings, out, run=run, rounds=harden, engine=runner, cache=cache)
        return
    campaign, refusals = run_and_report(settings, out, engine=runner, cache=cache)
    _print(campaign, refusals, out)


def _settings(config: Path | None, assignments: list[str]) -> CampaignConfig:
    from custodes.config import load
    from custodes.redteam.campaign import CampaignConfig

    return load(CampaignConfig, config, assignments)


def _harden(
    settings: CampaignConfig,
    out: Path,
    *,
    run: Path | None,
    rounds: int,
    engine: Engine,
    cache: Path,
) -> None:
    from custodes.errors import ConfigError
    from custodes.redteam.harden import harden_guard

    if run is None:
        raise ConfigError("--harden retrains a guard: give --run, the folder of custodes train")
    try:
        page = harden_guard(
            settings, out, run=run, rounds=rounds, engine=engine, cache=cache, say=typer.echo
        )
    except KeyboardInterrupt:
        _interrupted(out)
    typer.echo(f"report    {page}")


def _interrupted(out: Path) -> NoReturn:
    typer.echo(
        f"custodes: interrupted; finished attacks are kept in {out}: the same command goes on.",
        err=True,
    )
    raise typer.Exit(130) from None


def run_and_report(
    settings: CampaignConfig, out: Path, *, engine: Engine, cache: Path
) -> tuple[Campaign, list[Refusals]]:
    """Run a campaign with a progress bar and write everything into its folder."""
    from custodes.cli.progress import stages
    from custodes.redteam.conclude import conclude

    try:
        with stages() as progress:
            return conclude(settings, out, engine=engine, cache=cache, progress=progress)
    except KeyboardInterrupt:
        _interrupted(out)


def transcripts(
    folder: Annotated[Path, typer.Argument(help="The folder of a campaign.")],
    search: Annotated[str, typer.Option(help="A regular expression, in prompts and replies.")] = "",
    attack: Annotated[str, typer.Option(help="Of this attack only.")] = "",
    question: Annotated[str, typer.Option(help="On this question only.")] = "",
    success: Annotated[
        bool | None, typer.Option("--success/--failure", help="Only what got through, or did not.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Print at most so many.")] = 20,
) -> None:
    """Search the transcripts of a campaign."""
    from itertools import islice

    from custodes.redteam.transcripts import read_transcripts
    from custodes.redteam.transcripts import search as find

    found = find(
        read_transcripts(folder), text=search, attack=attack, question=question, success=success
    )
    shown = 0
    for attempt in islice(found, most):
        shown += 1
        outcome = "answered" if attempt.success else attempt.stopped or "no answer"
        typer.echo(f"== {attempt.attack} / {attempt.question} / query {attempt.query}: {outcome}")
        for turn in attempt.turns:
            typer.echo(f"[{turn.role}] {turn.content}")
        typer.echo(f"[reply] {attempt.reply}\n")
    more = sum(1 for _ in found)
    if more or not shown:
        told = f"{more:,} more; --most prints them" if more else "no attempt is of that kind"
        typer.echo(f"custodes: {told}", err=True)


def _listed(attacks: str | None) -> list[dict[str, str]] | None:
    if attacks is None:
        return None
    names = [name.strip() for name in attacks.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"--attacks {attacks!r}: got no name; leave it out for the default")
    return [{"kind": name} for name in names]


def _target(target: str | None) -> dict[str, str] | None:
    """The short forms of --target as settings."""
    if target is None:
        return None
    kind, colon, place = target.partition(":")
    if colon and not place:
        raise ConfigError(f"--target {target}: got no place behind the colon; expected a guard's")
    if kind in ("http", "https"):
        where = {"model": "default", "base_url": target, "api_key_env": "CUSTODES_API_KEY"}
        return {"kind": "gateway", **where}
    return {"kind": kind, "guard": place} if place else {"kind": kind}


def _print(campaign: Campaign, refusals: list[Refusals], out: Path) -> None:
    from custodes.redteam.tally import (
        success_by_attack,
        success_rate,
        tried,
        universality,
    )

    rates = success_by_attack(campaign.fights)
    for name in sorted(rates, key=lambda each: (-rates[each].value, each)):
        if rates[name].value > 0:
            typer.echo(f"{name:<24} {rates[name]:.0%} of the questions")
    typer.echo(f"attack success           {success_rate(campaign.fights):.1%} of the pairs")
    risky = [each.attack for each in universality(campaign.fights) if each.high_risk]
    typer.echo(f"universal attacks        {', '.join(dict.fromkeys(risky)) or 'none'}")
    for each in refusals:
        typer.echo(f"refused, {each.name:<15} {each.rate:.1%} of {each.rows}")
    left = len(campaign.fights) - len(tried(campaign.fights))
    if left:
        typer.echo(f"not tried                {left} attacks; the report says why")
    typer.echo(f"report                   {out / 'report.html'}")
