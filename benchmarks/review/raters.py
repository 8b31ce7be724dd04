"""20 raters judge at once, each a process of its own; some are killed in the middle of it.

Every rater claims, waits a little, answers, and writes down what was acknowledged. At the end the
database must hold every acknowledged answer, no pair of case and rater twice, and no case with
more ratings than asked for; and what the killed ones held must come back.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import databases
import filling

from custodes.errors import DataError, StoreError
from custodes.review.queue import Desk
from custodes.store import connect

RATERS = 20
CLAIM_SECONDS = 4.0


def figures(options: argparse.Namespace) -> list[dict]:
    size = {"tiny": (300, 6.0), "full": (100_000, 60.0)}[options.size]
    rows = []
    for kind in options.database.split(","):
        with databases.empty(kind, options.work) as url:
            if url is not None:
                rows += run(kind, url, *size, work=options.work, seed=options.seed)
    return rows


def run(kind: str, url: str, count: int, seconds: float, *, work: Path, seed: int) -> list[dict]:
    from custodes import store

    filled = filling.fill(url, count, raters=2, claim_seconds=CLAIM_SECONDS, sampling="random")
    log = work / f"acknowledged-{kind}"
    log.mkdir(exist_ok=True)
    for old in log.iterdir():
        old.unlink()
    fork = multiprocessing.get_context("fork")  # before any thread: a new rater costs no import

    def start(number: int, life: int) -> multiprocessing.Process:
        path = log / f"rater-{number}-{life}.jsonl"
        process = fork.Process(target=rate, args=(url, f"rater-{number}", path, until, seed + life))
        process.start()
        return process

    until = time.time() + seconds
    alive = {number: start(number, 0) for number in range(RATERS)}
    random.seed(seed)
    killed = 0
    time.sleep(seconds / 6)
    while time.time() < until - seconds / 4:
        number = random.randrange(RATERS)
        os.kill(alive[number].pid, signal.SIGKILL)
        alive[number].join()
        killed += 1
        alive[number] = start(number, killed)
        time.sleep(seconds / 12)
    for process in alive.values():
        process.join()
    time.sleep(CLAIM_SECONDS + 0.5)
    return check(store, kind, url, log, filled, killed)


def rate(url: str, rater: str, path: Path, until: float, seed: int) -> None:
    """What one rater does, until the time is over."""
    chance = random.Random(f"{rater} {seed}")
    desk = Desk(connect(url, timeout=30), now=time.time)
    with path.open("a") as file:
        while time.time() < until:
            try:
                began = time.perf_counter()
                claim = desk.next("bread", rater)
                if claim is None:
                    return
                claimed = time.perf_counter()
                time.sleep(chance.expovariate(1))
                again = time.perf_counter()
                done = desk.submit("bread", rater, claim.stored.id, "benign")
                ended = time.perf_counter()
            except (DataError, StoreError) as error:
                file.write(json.dumps({"error": str(error)}) + "\n")
                file.flush()
                continue
            row = {
                "case": claim.stored.id,
                "rater": rater,
                "given": done,
                "claim_ms": 1000 * (claimed - began),
                "submit_ms": 1000 * (ended - again),
            }
            file.write(json.dumps(row) + "\n")
            file.flush()


def check(store, kind: str, url: str, log: Path, filled: float, killed: int) -> list[dict]:
    from sqlalchemy import text

    from custodes.review.queue import Desk

    engine = store.connect(url, timeout=60)
    desk = Desk(engine, now=time.time)
    lines = [json.loads(line) for path in log.iterdir() for line in path.read_text().splitlines()
             if line.endswith("}")]  # fmt: skip
    acknowledged = {(row["case"], row["rater"]) for row in lines if row.get("given")}
    twice = sum(row.get("given", False) for row in lines) - len(acknowledged)
    errors = [row["error"] for row in lines if "error" in row]
    late = [error for error in errors if "ran out" in error]
    with store.writing(engine) as connection:
        while store.sweep(connection, "bread", now=time.time(), most=500):
            pass
    with store.reading(engine) as connection:
        given = {tuple(row) for row in connection.execute(
            text("SELECT case_id, rater FROM review_judgments WHERE state = 'given'"))}  # fmt: skip
        over = ask(connection, text(
            "SELECT count(*) FROM (SELECT case_id FROM review_judgments WHERE state = 'given' "
            "GROUP BY case_id HAVING count(*) > 2) AS many"))  # fmt: skip
        adrift = ask(connection, text(
            "SELECT count(*) FROM review_cases c WHERE c.taken <> (SELECT count(*) FROM "
            "review_judgments j WHERE j.case_id = c.id AND j.state <> 'left')"))  # fmt: skip
        stuck = ask(connection, text("SELECT count(*) FROM review_judgments WHERE state = 'held'"))
        expired = ask(
            connection, text("SELECT count(*) FROM review_actions WHERE what = 'expired'")
        )
    progress = desk.progress("bread")
    engine.dispose()
    claims = sorted(row["claim_ms"] for row in lines if "claim_ms" in row)
    submits = sorted(row["submit_ms"] for row in lines if "submit_ms" in row)
    named = f"{kind}, {progress.all:,} cases, {RATERS} raters"

    def row(name: str, value: float, target: str = "", unit: str = "") -> dict:
        return {"figure": f"{name}; {named}", "value": value, "target": target, "unit": unit}

    return [
        row("ratings acknowledged", len(acknowledged)),
        row("processes killed in the middle", killed, ">= 1"),
        row("cases judged twice by one rater", twice, "== 0"),
        row("cases with more ratings than asked for", over, "== 0"),
        row("acknowledged ratings that are lost", len(acknowledged - given), "== 0"),
        row("claims of the dead that did not come back", stuck, "== 0"),
        row("claims that ran out and went to others", expired),
        row("answers refused because the claim had run out (4 s in this test)", len(late)),
        row("cases whose count is out of step with their ratings", adrift, "== 0"),
        row("raters' calls that failed otherwise", len(errors) - len(late), "== 0"),
        row("p95 of a claim", claims[int(0.95 * len(claims))], "", "ms"),
        row("p95 of an answer", submits[int(0.95 * len(submits))], "", "ms"),
        row("time to put the cases in", filled, "", "s"),
    ]


def ask(connection, statement) -> int:
    return connection.execute(statement).scalar_one()
