"""`custodes calibrate`: set thresholds for a false-refusal budget."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from custodes.types import Mode

if TYPE_CHECKING:
    from custodes.guard import Policy
    from custodes.guard.calibration import CalibrationReport

__all__ = ["calibrate"]


def calibrate(
    guard: Annotated[str, typer.Option("--guard", help="A guard's folder, or a shipped guard.")],
    examples: Annotated[
        list[Path] | None,
        typer.Option(
            "--examples",
            help="Rows that training did not see; again for more. Without them only thresholds "
            "are set, on --benign.",
        ),
    ] = None,
    benign: Annotated[
        list[str] | None,
        typer.Option(
            "--benign",
            help="Ordinary traffic: a table, lines as `custodes score` reads them, or a set of the "
            "catalogue.",
        ),
    ] = None,
    modes: Annotated[
        list[Mode] | None,
        typer.Option(
            "--mode",
            help="Without --examples: set only this mode's threshold; again for more. Default: of "
            "all that have enough rows.",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Share of benign texts that may be stopped. Default: 0.01."),
    ] = None,
    most_rows: Annotated[
        int | None, typer.Option(min=1, help="At most so many rows of --examples in each mode.")
    ] = None,
    stages: Annotated[
        list[str] | None,
        typer.Option(
            "--stage",
            help="A stage that the guard shall have, by name; again for more, in their order. What "
            "they pass on is as --escalate says. Default: all stages, as they stand.",
        ),
    ] = None,
    escalate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[STAGE=]SHARE",
            help="Share of benign traffic that a stage, default: the first, passes on to the next; "
            "again for more. Default: all.",
        ),
    ] = None,
    alone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE=SHARE",
            help="A stage that may stop a text by itself, and its share of the budget, as "
            "encoder=0.25; again for more. Default: stages are averaged.",
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            help="A YAML file of what the guard's policy shall say, such as action, rules, "
            "hold_back or on_failure; what it does not name stays. Without rows that alone "
            "is changed, and it may name thresholds, too.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write; default: in place.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of cached features.")] = None,
) -> None:
    """Set a guard's thresholds so that benign traffic is stopped no more often than the budget.

    Probabilities are calibrated on the benign and harmful rows of --examples. The threshold is set
    on --benign where that has enough rows, else on the benign rows of --examples: give your own
    traffic, from no source that training saw. With --benign alone, thresholds are moved to your
    traffic and all else stays.
    """
    from custodes.cli.sources import check_place, read_examples, read_traffic
    from custodes.config import cache_folder
    from custodes.errors import ConfigError
    from custodes.guard import find_guard, is_shipped, read_manifest
    from custodes.guard.calibration import CalibrationConfig, calibrate_guard
    from custodes.guard.repolicy import change_policy

    rows_given = bool(examples or benign)
    if not rows_given and policy is None:
        raise ConfigError(
            "calibrate: got no rows; expected --examples, --benign or both (or --policy)"
        )
    changes = _policy(policy)
    for_rows = {
        "--mode": modes, "--budget": budget, "--most-rows": most_rows, "--stage": stages,
        "--escalate": escalate, "--alone": alone, "--cache": cache,
    }  # fmt: skip
    if not rows_given and (
        idle := [name for name, one in for_rows.items() if one not in (None, [])]
    ):
        raise ConfigError(
            f"calibrate: got {', '.join(idle)} without rows, which would do nothing; give "
            "--examples or --benign, too, or --policy alone"
        )
    budget = 0.01 if budget is None else budget
    if not 0 < budget < 1:
        raise ConfigError(f"--budget: got {budget}, expected a share between 0 and 1, as 0.01")
    shares = _shares("--alone", alone or [])
    found = find_guard(guard)
    if out is not None:
        check_place(out, guard="")
    elif is_shipped(found):
        raise ConfigError(
            f"--guard {guard}: comes with custodes, for every project here; give --out FOLDER"
        )
    if not rows_given:
        manifest = change_policy(found, changes, folder=out or found)
        typer.echo(f"guard {out or found} ({manifest.sha256[:16]}), policy changed")
        _tell_policy(manifest.policy)
        return
    first = (stages or [entry.name for entry in read_manifest(found).stages])[0]
    passed_on = _shares("--escalate", escalate or [], default=first)
    # Nothing is learned that a licence could bind but a few numbers; a dev set is refused.
    rows = read_examples([str(path) for path in examples or []], unreleasable=True)
    aim = CalibrationConfig(
        budget=budget,
        most_rows=most_rows,
        escalate=passed_on,
        alone=shares,
        stages=tuple(stages or ()),
        modes=tuple(modes or ()),
    )
    report = calibrate_guard(
        found,
        rows,
        aim,
        benign=read_traffic(benign or []),
        folder=out or found,
        cache=cache or cache_folder() / "features",
        policy=changes,
    )
    typer.echo(f"guard {out or found} ({report.manifest.sha256[:16]}), budget {budget:.2%}")
    _tell(report)


def _tell(report: CalibrationReport) -> None:
    for mode, threshold in report.thresholds.items():
        typer.echo(
            f"  {mode:<9} stops at logit {threshold.logit:+.3f}: {threshold.refused} of "
            f"{threshold.rows} benign rows ({threshold.rate:.2%}, 95 % interval)"
        )
        if mode in report.over:
            typer.echo(f"  {mode:<9} over the budget: {report.over[mode]}")
        if mode in report.spared:
            typer.echo(
                f"  {mode:<9} lets {report.spared[mode]} more benign rows through that reach its "
                "threshold, by the policy"
            )
    _tell_rules(report.manifest.policy)
    for stage, spoken in report.alone.items():
        typer.echo(f"  {stage} may speak alone: {', '.join(spoken)}")
    for mode, why in report.skipped.items():
        typer.echo(f"  {mode:<9} unchanged: {why}")
    for lost in report.dropped:
        typer.echo(f"  {lost}")


def _tell_policy(policy: Policy) -> None:
    for mode in Mode:
        at = policy.threshold_of(None, mode)
        typer.echo(f"  {mode:<9} {policy.action.value} from probability {at:.4g}")
    _tell_rules(policy)


def _tell_rules(policy: Policy) -> None:
    """Rules that the policy names: rows set no threshold of theirs."""
    for rule, own in policy.rules.items():
        at = "its mode's threshold"
        if own.threshold is not None:
            at = f"probability {own.threshold:g} in every mode, a threshold of its own"
        typer.echo(f"  rule {rule}: {own.action.value} from {at}")


def _policy(path: Path | None) -> dict[str, Any]:
    """What the file says, and nothing that it leaves out; `ConfigError` for a wrong setting."""
    from custodes.config import load
    from custodes.errors import ConfigError
    from custodes.guard import Policy

    if path is None:
        return {}
    policy = load(Policy, path)
    if not policy.model_fields_set:
        raise ConfigError(
            f"--policy {path}: says nothing; expected settings of the policy, as hold_back: 50"
        )
    return {name: getattr(policy, name) for name in policy.model_fields_set}


def _shares(flag: str, given: list[str], *, default: str = "") -> dict[str, float]:
    """Stage -> share, of STAGE=SHARE; of a SHARE alone, if it may stand so: `default` -> share."""
    from custodes.errors import ConfigError

    found: dict[str, float] = {}
    for one in given:
        stage, _, share = one.rpartition("=")
        stage = stage or default
        try:
            value = float(share)
        except ValueError:
            value = math.nan
        if not stage or not 0 < value < 1:
            raise ConfigError(
                f"{flag}: got {one!r}, expected a {'' if default else 'stage and a '}share between "
                f"0 and 1, as {'' if default else 'encoder='}0.1"
            )
        if stage in found:
            raise ConfigError(f"{flag}: got {', '.join(given)}; expected each stage once")
        found[stage] = value
    return found
