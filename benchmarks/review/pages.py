"""What a page of review costs at 100,000 cases while 20 reviewers are at it: a real gateway.

Each reviewer is a thread of another process that signs in, asks for the next case, thinks (a
second on average), answers as the page's script does (answer, then the card ahead), and now and
then looks at lists. Reported: milliseconds from the request to the last byte, by kind of page.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import databases
import filling

REVIEWERS = 20


def figures(options: argparse.Namespace) -> list[dict]:
    count, seconds = {"tiny": (2_000, 8.0), "full": (100_000, 60.0)}[options.size]
    rows = []
    for kind in options.database.split(","):
        with databases.empty(kind, options.work) as url:
            if url is not None:
                rows += run(kind, url, count, seconds, options)
    return rows


def run(kind: str, url: str, count: int, seconds: float, options: argparse.Namespace) -> list[dict]:
    filling.fill(url, count, raters=2, sampling="random",
                 arms=("none", "evidence", "judgment"))  # fmt: skip
    tokens = make_keys(url)
    config = options.work / "gateway.json"
    config.write_text(json.dumps({
        "guard": None, "upstreams": {"none": {"url": "http://127.0.0.1:9/v1"}}, "database": url,
        "port": 0,
    }))  # fmt: skip
    log = options.work / f"gateway-{kind}.log"
    with log.open("w") as file:
        serving = subprocess.Popen(
            [sys.executable, "-m", "custodes", "serve", "--config", str(config)],
            stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        address = wait_for(log, serving)
        began = processor_seconds(serving.pid)
        found = drive(address, tokens, seconds, options.seed)
        spent = processor_seconds(serving.pid) - began
        synced = fsync_ms(options.work / "fsync")
    finally:
        serving.terminate()
        serving.wait(60)
    everything = [ms for name, times in found.items() if name != "sign in" for ms in times]
    named = f"{kind}, {count:,} cases, {REVIEWERS} reviewers"

    def row(name: str, value: float, unit: str = "", target: str = "") -> dict:
        return {"figure": f"{name}; {named}", "value": value, "unit": unit, "target": target}

    return [
        row("p95 of all pages", at(everything, 0.95), "ms", "< 50"),
        row("p50 of all pages", at(everything, 0.5), "ms"),
        row("processor time of a page in the gateway", 1000 * spent / len(everything), "ms"),
        row("pages a second", len(everything) / seconds),
        row("load of the machine, 1 minute", os.getloadavg()[0]),
        row("one fsync of this disk right after, median of 30", synced, "ms"),
        *(
            row(f"p95 of {name}", at(times, 0.95), "ms")
            for name, times in sorted(found.items())
            if name != "failed"
        ),
        row("pages that failed", len(found.get("failed", [])), target="== 0"),
    ]


def fsync_ms(path: Path) -> float:
    """What any database must wait for at each commit."""
    times = []
    with path.open("wb") as file:
        for _ in range(30):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(1000 * (time.perf_counter() - began))
    path.unlink()
    return sorted(times)[15]


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_keys(url: str) -> list[str]:
    from custodes import store

    with store.opened(url, create=False) as engine, store.writing(engine) as connection:
        return [
            store.create_key(connection, f"reviewer {n}", role=store.KeyRole.REVIEWER,
                             now=time.time())[1]
            for n in range(REVIEWERS)
        ]  # fmt: skip


def wait_for(log: Path, serving: subprocess.Popen) -> str:
    for _ in range(600):
        found = re.search(r"serving at (\S+)", log.read_text())
        if found:
            return found[1]
        if serving.poll() is not None:
            break
        time.sleep(0.2)
    raise SystemExit(f"the gateway did not start:\n{log.read_text()}")


def drive(address: str, tokens: list[str], seconds: float, seed: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    lock = threading.Lock()
    gate = threading.Barrier(len(tokens) + 1)

    def note(kind: str, ms: float) -> None:
        with lock:
            found.setdefault(kind, []).append(ms)

    threads = [
        threading.Thread(target=review, args=(address, token, seconds, (seed, n), note, gate))
        for n, token in enumerate(tokens)
    ]
    for thread in threads:
        thread.start()
    gate.wait()
    for thread in threads:
        thread.join()
    return found


def review(address, token, seconds, who, note, gate) -> None:
    import httpx2

    chance, number = random.Random(f"{who[0]} {who[1]}"), who[1]
    # Ten attempts to sign in are let through a minute and address.
    path = httpx2.HTTPTransport(local_address=f"127.0.0.{2 + number // 8}")
    with httpx2.Client(base_url=address, timeout=30, transport=path) as http:
        timed(http, note, "sign in", "POST", "/console/sign-in", data={"key": token})
        gate.wait()
        until = time.time() + seconds
        time.sleep(chance.random())
        page = timed(http, note, "the judging page", "GET", "/console/review/bread")
        word = re.search(r'data-word="([^"]+)"', page)[1]
        case = re.search(r'data-case="(\d+)"', page)[1]
        ahead = card(http, note, case)
        while time.time() < until:
            time.sleep(chance.expovariate(1.0))
            fields = {"word": word, "answer": "benign", "shows": ahead}
            timed(http, note, "an answer", "POST", f"/console/review/bread/cases/{case}/answer",
                  data=fields)  # fmt: skip
            case, ahead = ahead, card(http, note, ahead)
            if chance.random() < 0.1:
                path = chance.choice(["?q=number+77", "?state=open", "?state=done", "?before=5000"])
                timed(http, note, "the list of cases", "GET", f"/console/review/bread/cases{path}")
            if chance.random() < 0.05:
                page = timed(http, note, "the judging page", "GET", "/console/review/bread")
                case = re.search(r'data-case="(\d+)"', page)[1]
                ahead = card(http, note, case)


def card(http, note, after: str) -> str:
    page = timed(http, note, "the card ahead", "GET", f"/console/review/bread/ahead?after={after}")
    return re.search(r'data-case="(\d+)"', page)[1]


def timed(http, note, kind: str, method: str, path: str, **options) -> str:
    began = time.perf_counter()
    answer = http.request(method, path, **options, headers={"hx-request": "false"})
    ms = 1000 * (time.perf_counter() - began)
    note(kind if answer.status_code < 400 else "failed", ms)
    return answer.text


def at(times: list[float], share: float) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
