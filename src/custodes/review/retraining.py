"""A guard trained again with reviewers' labels, beside the one that it replaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from custodes.config import Config, Run, cache_folder, load
from custodes.constitution import read as read_constitution
from custodes.data import read, split, write
from custodes.errors import ConfigError, DataError
from custodes.guard import load_guard, read_manifest
from custodes.guard.build import GuardConfig, build_guard
from custodes.review.queue import Desk
from custodes.review.training import changes, changes_report, guard_folder, training_rows
from custodes.types import Example

__all__ = ["RetrainConfig", "retrain_guard"]


class RetrainConfig(Config):
    """What is trained again, and on what."""

    queue: str
    """The queue whose settled cases are added."""
    run: Path
    """The run folder of `custodes train` whose rows and settings are taken."""
    constitution: str | None = None
    """The constitution that the run was trained from; null: the shipped one of the guard's id."""
    weight: int = Field(default=4, ge=1)
    """How often each reviewed row counts: they are few and near the boundary."""
    kept_out: float = Field(default=0.3, gt=0, lt=0.9)
    """Share of the reviewed cases kept out to measure on."""
    budget: float | None = Field(default=None, gt=0, lt=1)
    """Calibrate the new guard to this false-refusal budget on the run's calibration rows, as the
    old one was; null where the old one was not."""
    seed: int = Field(default=0, ge=0)
    """Of the split."""


def retrain_guard(
    desk: Desk,
    config: RetrainConfig,
    out: Path,
    *,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> tuple[Path, Path]:
    """(report page, new guard's folder). Written below `out`: guard, train.parquet, review.parquet,
    report. `DataError` where fewer than ten settled cases carry a label."""
    if out.resolve() == config.run.resolve():
        raise ConfigError(
            f"--out: got {out}, which is the run itself: its guard would be replaced before it is "
            "compared with; give another folder"
        )
    reviewed = training_rows(desk, config.queue)
    if len(reviewed) < 10:
        raise DataError(
            f"queue {config.queue}: got {len(reviewed)} settled cases with a label, expected 10 at "
            "least; judge more, or give the answers labels (choices: label 1 or 0)"
        )
    old = guard_folder(config.run)
    settings = load(GuardConfig, config.run / "config.yaml")
    manifest = read_manifest(old)
    if (config.budget is None) is bool(manifest.policy.thresholds):
        raise DataError(
            "--budget: give the budget that the old guard was calibrated to, and only then: "
            f"{old} is {'' if manifest.policy.thresholds else 'not '}calibrated, and two guards "
            "whose thresholds are made differently cannot be compared"
        )
    before = read(config.run / "train.parquet")
    parts = split(
        reviewed, {"train": 1 - config.kept_out, "test": config.kept_out}, seed=config.seed
    )
    added = [_again(row, n) for row in parts["train"] for n in range(config.weight)]
    rules = read_constitution(config.constitution or manifest.constitution.id)
    folder = out / "guard"
    build_guard(
        [*before, *added], rules, settings, folder=folder,
        card=_card(config, len(before), len(parts["train"]), len(parts["test"])),
        cache=cache_folder() / "features", progress=progress,
    )  # fmt: skip
    if config.budget is not None:
        _calibrate(folder, config)
    run = Run(out, config, seed=config.seed)
    write(out / "train.parquet", [*before, *added])
    write(out / "review.parquet", reviewed)
    one, two = load_guard(old), load_guard(folder)
    found = [changes("reviewed cases kept out", parts["test"], one, two)]
    if (config.run / "test.parquet").exists():
        found.append(changes("the old test rows", read(config.run / "test.parquet"), one, two))
    facts = {"before": one.artifact[:16], "after": two.artifact[:16], "queue": config.queue}
    report = changes_report(found, rows=len(parts["train"]), seed=config.seed, facts=dict(facts))
    return run.report(report.values(), report.html()), folder


def _again(row: Example, number: int) -> Example:
    return replace(row, id=f"{row.id}-{number}") if number else row


def _calibrate(folder: Path, config: RetrainConfig) -> None:
    from custodes.guard.calibration import CalibrationConfig, calibrate_guard

    calibrate_guard(
        folder,
        read(config.run / "calibration.parquet"),
        CalibrationConfig(budget=config.budget or 0.01),
        folder=folder,
        cache=cache_folder() / "features",
    )


def _card(config: RetrainConfig, before: int, added: int, kept: int) -> str:
    return (
        f"# Guard trained again with labels of {config.queue}\n\n"
        f"{before} rows of {config.run}, and {added} reviewed cases, each {config.weight} times; "
        f"{kept} reviewed cases were kept out to measure on (see the run's report).\n\n"
        "## Limits\n\nReviewed cases are those the old guard was unsure of, and so no sample of "
        "traffic.\n"
    )
