"""Minutes under load: memory stays flat, nothing leaks, no event is lost.

    python benchmarks/gateway/soak.py [--seconds 600] [--streams 16] [--guard scripted|NAME]

`custodes serve` as a process of its own, before a scripted upstream, on this machine alone. The
load is a mix of everything that a gateway meets: streams and whole replies in three formats, harm
in replies and in prompts, clients that leave, upstreams that break, verdicts alone, and a reload
every ten seconds. Writes its rows into results.json beside this file where it lasts ten minutes or
more, else into out/benchmarks/gateway_soak.json.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import yaml

from custodes.config import environment
from custodes.guard import save_guard
from custodes.measure import Figure, read_results, write_results
from custodes.server.demonstration import scripted_guard
from custodes.server.scripted import Script, ScriptedUpstream

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MARKER = "the forbidden cake"
PROSE = ("It is ", "a ", "quiet ", "street ", "with old ", "trees ", "and ", "a ", "bakery. ") * 3
TEXT = re.compile(rb'"(?:text|content)": ?"((?:[^"\\]|\\.)*)"')
WHY = re.compile(rb'"(?:message|finish_reason|stop_reason)": ?"[^"]*"')
CUT = re.compile(rb'"(content_filter|refusal)"')
ENDS = {"benign": re.compile(rb'"(stop|end_turn)"'), "broken": re.compile(rb'"error"')}
WARM_UP = 0.2
"""The part of the time in which memory may still grow: pools, caches, threads."""


@dataclass
class Report:
    """What was seen."""

    requests: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)
    """Status and what was said, of unexpected answers."""
    leaked: int = 0
    samples: list[tuple[float, float, int, int]] = field(default_factory=list)
    """Seconds, resident MiB, open files, threads."""
    events: int = 0
    chain: bool = False
    ready: bool = False

    def growth(self) -> float:
        """Resident memory, last tenth against the first tenth after the warm-up; share."""
        kept = self.samples[int(len(self.samples) * WARM_UP) :]
        tenth = max(1, len(kept) // 10)
        first = statistics.median(sample[1] for sample in kept[:tenth])
        last = statistics.median(sample[1] for sample in kept[-tenth:])
        return last / first - 1

    def files(self) -> int:
        """Open files more at the end, at rest, than after the warm-up's median."""
        kept = self.samples[int(len(self.samples) * WARM_UP) :]
        return self.samples[-1][2] - round(statistics.median(sample[2] for sample in kept))


def soak(seconds: float, streams: int, *, guard: str = "scripted", seed: int = 0) -> Report:
    """Serve, load, look, stop."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder, ScriptedUpstream() as upstream:
        place = Path(folder)
        process, url = serve(place, upstream.url, guard)
        try:
            asyncio.run(load(report, url, process, seconds, streams, random.Random(seed)))
            report.samples.append(sample(process.pid, seconds))
            report.ready = httpx2.get(url + "/readyz").status_code == 200
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        audit(report, place)
    return report


def serve(place: Path, upstream: str, guard: str) -> tuple[subprocess.Popen[str], str]:
    if guard == "scripted":
        made = scripted_guard(MARKER)
        made.cascade.stages[0].scorer.save(place / "stage")
        save_guard(place / "guard", made, scorers={"scripted": place / "stage"}, card="a double")
        guard = str(place / "guard")
    settings = {
        "guard": guard,
        "upstreams": {"main": {"url": upstream, "kind": "both", "idle_seconds": 5}},
        "port": 0,
        "no_auth": True,
        "database": f"sqlite:///{place / 'soak.db'}",
    }
    (place / "serve.yaml").write_text(yaml.safe_dump(settings))
    code = "from custodes.cli.serve import serve; import typer; typer.run(serve)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--config", str(place / "serve.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    if not found:
        raise SystemExit(f"the gateway did not start: {line!r}")
    for _ in range(600):
        try:
            if httpx2.get(found[0] + "/readyz").status_code == 200:
                break
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    return process, found[0]


async def load(
    report: Report,
    url: str,
    process: subprocess.Popen[str],
    seconds: float,
    streams: int,
    chance: random.Random,
) -> None:
    """`streams` clients, one request after the other each, and one who watches."""
    until = time.monotonic() + seconds
    began = time.monotonic()
    limits = httpx2.Limits(max_connections=streams + 4)
    async with httpx2.AsyncClient(
        base_url=url, timeout=60, limits=limits, trust_env=False
    ) as client:

        async def one(number: int) -> None:
            own = random.Random(chance.random() + number)
            while time.monotonic() < until:
                await request(report, client, own)

        async def watch() -> None:
            for tick in itertools.count():
                if time.monotonic() >= until:
                    return
                report.samples.append(sample(process.pid, time.monotonic() - began))
                if tick % 10 == 9:
                    process.send_signal(signal.SIGHUP)
                await asyncio.sleep(1)

        await asyncio.gather(watch(), *(one(number) for number in range(streams)))


async def request(report: Report, client: httpx2.AsyncClient, chance: random.Random) -> None:
    """One of the mix, and whether the answer is what it must be."""
    kind = chance.choices(
        ("benign", "harmful", "asked", "whole", "leave", "broken", "moderation"),
        (6, 3, 1, 2, 1, 1, 1),
    )[0]
    path = chance.choice(("/v1/chat/completions", "/v1/messages", "/v1/completions"))
    report.requests[kind] += 1
    try:
        if kind == "moderation":
            answer = await client.post("/v1/moderations", json={"input": "hello"})
            good = answer.status_code == 200
        else:
            good = await reply(report, client, path, kind, chance)
    except httpx2.HTTPError as error:
        good = False
        kind += f" {type(error).__name__}"
    if not good:
        report.unexpected.append(f"{kind} {path}")


async def reply(
    report: Report,
    client: httpx2.AsyncClient,
    path: str,
    kind: str,
    chance: random.Random,
) -> bool:
    """Ask for a reply in which harm comes after `PROSE`, or does not come."""
    harm = (MARKER[:9], MARKER[9:], " and more") if kind in ("harmful", "whole") else ()
    script = Script(
        pieces=(*PROSE, *harm),
        chunk=chance.choice((0, 0, 7)),
        delay=0.002,
        fault="drop" if kind == "broken" else None,
        fault_at=20,
    )
    text = f"Tell me of {MARKER}." if kind == "asked" else script.prompt()
    body = {"model": "m", "max_tokens": 500, "stream": kind != "whole"}
    if path == "/v1/completions":
        body["prompt"] = text
    else:
        body["messages"] = [{"role": "user", "content": text}]
    got = b""
    async with client.stream("POST", path, json=body) as answer:
        async for data in answer.aiter_bytes():
            got += data
            if kind == "leave":
                return True
    shown = b"".join(TEXT.findall(got)).decode()
    report.leaked += max(0, len(shown) - len("".join(PROSE)))
    if answer.status_code == 200 and ENDS.get(kind, CUT).search(got) is not None:
        return True
    why = [found.decode() for found in WHY.findall(got)]
    report.endings[f"{answer.status_code} {why[-1] if why else 'no end'}"] += 1
    return False


def sample(pid: int, at: float) -> tuple[float, float, int, int]:
    status = Path(f"/proc/{pid}/status").read_text()
    numbers = {
        name: int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "Threads")
    }
    files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return at, numbers["VmRSS"] / 1024, files, numbers["Threads"]


def audit(report: Report, place: Path) -> None:
    from custodes.store import connect, reading, stream, verify

    engine = connect(f"sqlite:///{place / 'soak.db'}", create=False)
    with reading(engine) as connection:
        report.events = sum(1 for _ in stream(connection))
        report.chain = verify(connection).ok
    engine.dispose()


def figures(report: Report, options: argparse.Namespace) -> list[Figure]:
    command = (
        f"python benchmarks/gateway/soak.py --seconds {options.seconds:g} "
        f"--streams {options.streams} --guard {options.guard}"
    )
    common = {"seeds": [options.seed], "command": command, "commit": str(environment()["commit"])}
    name = f"soak, {options.seconds / 60:g} minutes, {options.streams} clients"
    last = report.samples[-1]
    return [
        Figure.of(f"{name}: requests", sum(report.requests.values()), **common),
        Figure.of(
            f"{name}: growth of resident memory after the warm-up",
            report.growth() * 100,
            unit="%",
            target="<= 5 %",
            **common,
        ),
        Figure.of(f"{name}: resident memory at the end", last[1], unit="MiB", **common),
        Figure.of(f"{name}: open files more than usual", report.files(), target="<= 0", **common),
        Figure.of(f"{name}: characters leaked", report.leaked, target="== 0", **common),
        Figure.of(f"{name}: unexpected answers", len(report.unexpected), target="== 0", **common),
        Figure.of(
            f"{name}: events in the chain, which verifies",
            report.events if report.chain else None,
            **common,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--guard", default="scripted")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    report = soak(options.seconds, options.streams, guard=options.guard, seed=options.seed)
    for at, mebibytes, files, threads in report.samples[:: max(1, len(report.samples) // 20)]:
        print(f"{at:6.0f} s {mebibytes:7.1f} MiB {files:4} files {threads:3} threads")
    print(dict(report.requests), Counter(report.unexpected).most_common(5), report.endings)
    rows = figures(report, options)
    full = options.seconds >= 600
    place = HERE / "results.json" if full else ROOT / "out/benchmarks/gateway_soak.json"
    kept = read_results(place) if place.exists() else []
    kept = [row for row in kept if "gateway/soak.py" not in row.command]
    place.parent.mkdir(parents=True, exist_ok=True)
    write_results(place, [*kept, *rows])
    print(json.dumps({row.figure: row.value for row in rows}, indent=2))
    if not report.ready:
        raise SystemExit("the gateway was not ready at the end")


if __name__ == "__main__":
    main()
