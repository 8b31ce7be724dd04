"""A study on a queue: its items put in, its trials taken out."""

from __future__ import annotations

from pathlib import Path

from custodes.config import digest
from custodes.errors import DataError
from custodes.review.cases import Case
from custodes.review.exchange import read_cases
from custodes.review.queue import Desk
from custodes.review.settling import check_known
from custodes.review.study.protocol import Protocol
from custodes.review.trials import Trial, trials_of

__all__ = ["gather", "items_sha256", "judged_items", "start_study"]


def start_study(desk: Desk, protocol: Protocol, *, base: Path) -> int:
    """Make the study's queue and put its items in; how many. `base`: where a relative path of
    items starts.

    `DataError` where an item lacks the AI's view or a known answer, a check's answer is none of the
    study's or the study asks no checks, before there is a queue; or where the queue exists with
    other settings: a study that runs is not changed.
    """
    items = _items(protocol, base)
    config = protocol.queue(items_sha256(protocol, base=base))
    check_known(items, protocol.name, config)
    if protocol.name in desk.queues() and desk.config(protocol.name) != config:
        raise DataError(
            f"study {protocol.name}: its queue is there with other settings or items; a study is "
            "not changed while it runs: take another name"
        )
    desk.put(protocol.name, config)
    return desk.add(protocol.name, items, origin="study")


def gather(desk: Desk, protocol: Protocol, *, base: Path) -> tuple[list[Trial], dict[str, float]]:
    """The study's trials, and rater -> share of right checks.

    `DataError` where the file of items, and so perhaps a truth, is not what the study began with.
    """
    began, now = desk.config(protocol.name).items_sha256, items_sha256(protocol, base=base)
    if began not in ("", now):  # studies of earlier versions noted none
        raise DataError(
            f"study {protocol.name}: got {protocol.items} with the SHA-256 {now}, expected "
            f"{began}; analyze with the file of items that the study was started with"
        )
    truths = {item.ref: str(item.meta["truth"]) for item in judged_items(protocol, base=base)}
    rated = desk.rated(protocol.name)
    checks: dict[str, list[bool]] = {}
    for each in rated:
        if each.case.gold is not None:
            right = each.judgment.answer == each.case.gold
            checks.setdefault(each.judgment.rater, []).append(right)
    trials = trials_of((each for each in rated if each.case.gold is None), truths)
    return trials, {rater: sum(right) / len(right) for rater, right in checks.items()}


def judged_items(protocol: Protocol, *, base: Path) -> list[Case]:
    """The study's items without its checks, which are no trials."""
    return [item for item in _items(protocol, base) if item.gold is None]


def items_sha256(protocol: Protocol, *, base: Path) -> str:
    """SHA-256 of the study's file of items."""
    path = _path(protocol, base)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the study's items")
    return digest(path)


def _path(protocol: Protocol, base: Path) -> Path:
    return protocol.items if protocol.items.is_absolute() else base / protocol.items


def _items(protocol: Protocol, base: Path) -> list[Case]:
    path = _path(protocol, base)
    items = read_cases(path)
    names = {choice.name for choice in protocol.choices}
    for item in items:
        if item.gold is not None:
            continue
        if item.view is None:
            raise DataError(f"{path}: item {item.ref} has no opinion: the AI's view is missing")
        if item.meta.get("truth") not in names:
            raise DataError(
                f"{path}: item {item.ref}: meta.truth is {item.meta.get('truth')!r}, expected one "
                f"of {', '.join(sorted(names))}"
            )
    return items
