"""A campaign from beginning to end: attacks, benign traffic, judges; and all of it written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from custodes.config import Run, environment, write_atomically
from custodes.engine import Engine
from custodes.redteam.campaign import Campaign, CampaignConfig, run_campaign, target_of
from custodes.redteam.found import write_artifact
from custodes.redteam.judges import JudgeConfig, make_judge
from custodes.redteam.refusals import Refusals, count_refusals
from custodes.redteam.report import campaign_report, judges_agreement
from custodes.redteam.tally import (
    per_thousand,
    success_by_attack,
    success_by_budget,
    success_by_question,
    success_per_attempt,
    success_rate,
    ungraded,
    universality,
)
from custodes.redteam.transcripts import write_for_people, write_transcripts

__all__ = ["conclude", "figures_of"]


def conclude(
    config: CampaignConfig,
    folder: Path,
    *,
    engine: Engine,
    cache: Path,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> tuple[Campaign, list[Refusals]]:
    """Run or resume a campaign in `folder` and write its report and transcripts."""
    run = Run(folder, config, seed=config.seed)
    campaign = run_campaign(config, folder, engine=engine, cache=cache, progress=progress)
    progress("benign traffic", 0.0)
    target = target_of(config, cache)
    before = dict(target.clock.seconds)
    refusals = count_refusals(
        target,
        campaign.questions,
        neighbors=config.neighbors,
        traffic=config.traffic,
        rows=config.traffic_rows,
        seed=config.seed if config.benign_seed is None else config.benign_seed,
    )
    spent = {what: s - before.get(what, 0.0) for what, s in target.clock.seconds.items()}
    progress("benign traffic", 1.0)
    second = config.second_judges
    judges = dict(zip(_names(second), map(make_judge, second), strict=True))
    agreement = judges_agreement(campaign, judges) if judges and campaign.bars else {}
    facts = {"target": campaign.target, "commit": str(environment()["commit"])}
    report = campaign_report(campaign, refusals, agreement=agreement, facts=facts)
    values = {**report.values(), "figures": figures_of(campaign, refusals)}
    values["figures"]["benign seconds"] = spent
    values["figures"]["agreement"] = {name: list(pair) for name, pair in agreement.items()}
    run.report(values, report.html())
    write_transcripts(folder, campaign.fights, title=report.title)
    write_for_people(folder, campaign.fights)
    artifact = folder / "artifacts" / "jailbreakbench.json"
    write_artifact(artifact, campaign.fights, campaign.questions, model=campaign.target)
    refused = {each.name: list(each.refused) for each in refusals}
    write_atomically(folder / "refused.json", json.dumps(refused, indent=2) + "\n")
    run.log(event="campaign", **_headline(values["figures"]))
    return campaign, refusals


def _names(judges: Sequence[JudgeConfig]) -> list[str]:
    """Their kinds; the second of a kind is called "people 2", and so on."""
    kinds = [each.kind for each in judges]
    counts = [kinds[: place + 1].count(kind) for place, kind in enumerate(kinds)]
    return [f"{kind} {n}" if n > 1 else kind for kind, n in zip(kinds, counts, strict=True)]


def figures_of(campaign: Campaign, refusals: list[Refusals]) -> dict[str, Any]:
    """The numbers alone, as plain JSON, for programs that compare campaigns."""
    fights = campaign.fights
    seconds: dict[str, float] = {}
    for fight in fights:
        for what, spent in fight.seconds.items():
            seconds[what] = seconds.get(what, 0.0) + spent
    return {
        "success": success_rate(fights).to_values(),
        "per attempt": success_per_attempt(fights).to_values(),
        "per thousand": per_thousand(fights),
        "universal": [
            [each.attack, each.strategy] for each in universality(fights) if each.high_risk
        ],
        "queries": sum(sum(fight.queries.values()) for fight in fights),
        "attempts": sum(len(fight.attempts) for fight in fights),
        "ungraded": ungraded(fights),
        "by attack": {k: v.to_values() for k, v in success_by_attack(fights).items()},
        "by question": {k: v.to_values() for k, v in success_by_question(fights).items()},
        "by budget": success_by_budget(fights, campaign.config.most_queries),
        "refused": {each.name: [len(each.refused), each.rows] for each in refusals},
        "seconds": seconds,
    }


def _headline(figures: dict[str, Any]) -> dict[str, Any]:
    wanted = ("success", "per attempt", "per thousand", "queries", "refused")
    return {name: figures[name] for name in wanted}
