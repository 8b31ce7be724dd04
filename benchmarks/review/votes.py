"""Confidence routing on real votes (Climate-FEVER)."""

from __future__ import annotations

import argparse
import json
import math

from custodes.measure import Interval
from custodes.review.reproduce import reproduce


def figures(options: argparse.Namespace) -> list[dict]:
    out = options.work / f"complementarity-{options.size}"
    if not (out / "report.html").exists():  # a run that is there is read
        reproduce(options.size, options.seed, out)
    found, routings = {}, {}
    for line in (out / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        if "figure" in row:
            found[row["figure"]] = row
        elif "routing" in row:
            routings[row["routing"]] = row
    seeds = [options.seed]

    def figure(name: str, value: dict, target: str = "") -> dict:
        known = {name: math.nan if one is None else one for name, one in value.items()}
        interval = Interval(known["value"], known["low"], known["high"])
        return {"figure": name, "value": interval, "target": target, "seeds": seeds}

    names = {"people": "people alone, accuracy", "ai": "AI rater alone, accuracy",
             "hybrid": "hybrid (T for accuracy), accuracy", "oracle": "oracle, accuracy",
             "region": "complementarity region (people right, AI wrong)"}  # fmt: skip
    rows = [figure(title, found[name]) for name, title in names.items()]
    rows += [
        figure("hybrid over the AI alone", found["over_ai"], "> 0"),
        figure("hybrid over people alone", found["over_people"], "> 0"),
    ]
    best = max(found["over_ai"]["low"], found["over_people"]["low"])
    rows.append({"figure": "greater lower bound of the two differences", "value": best,
                 "target": "> 0", "seeds": seeds})  # fmt: skip
    rows += [figure(f"hybrid over people alone, {name}", row["over_people"])
             for name, row in routings.items()]  # fmt: skip
    for name, row in routings.items():
        if name.startswith("T for risk"):
            rows += [figure(f"share that the AI answers, {name}", row["accepted"]),
                     figure(f"errors among those, {name}", row["errors"], "<= 0.25")]  # fmt: skip
    return rows
