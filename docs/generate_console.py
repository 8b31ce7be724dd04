"""Makes the console's pictures in docs/images from a real gateway at work.

A scripted upstream answers, a scripted guard stands in (mild stand-ins for harm), and the
gateway's clock runs 15 times too fast, so that an hour of traffic takes four minutes. Needs
Chromium and playwright: `python docs/generate_console.py [FOLDER]`; with `--all` every page,
wide and narrow, light and dark.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import Engine

from custodes import store
from custodes.classifiers.scripted import Pattern, ScriptedConfig, ScriptedScorer
from custodes.guard import Cascade, Edition, Guard, Policy, Response, RulePolicy, Stage
from custodes.server.app import build_app, build_parts
from custodes.server.config import GatewayConfig
from custodes.server.demonstration import serve_in_thread
from custodes.server.persistence import open_database
from custodes.server.scripted import Script, ScriptedUpstream
from custodes.server.service import Clock
from custodes.types import RuleId

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
IMAGES = Path(__file__).with_name("images")
SPEED = 15.0
HOUR = 3600.0
RULES = ("weapons", "malware", "self-harm", "fraud", "stalking", "privacy")
WEIGHTS = (9, 6, 3, 4, 1, 5)
USERS = (("support assistant", "enforce", 6), ("mobile app", "enforce", 9), ("beta", "flag", 2),
         ("search trial", "shadow", 1))  # fmt: skip
ROUTES = ("/v1/chat/completions", "/v1/messages")


@dataclass
class Haste:
    """A clock that runs `SPEED` times too fast, and ends now."""

    ends: float
    began: float

    def now(self) -> float:
        """Seconds since 1970; never later than the real time."""
        ahead = self.ends - HOUR + SPEED * (time.monotonic() - self.began)
        return min(ahead, time.time())


def make_guard() -> Guard:
    """Two stages that know a stand-in for harm for every rule; one rule only flags."""
    rules = tuple(RuleId(rule) for rule in RULES)
    stages = []
    for name, weight, factor in (("hashed", 1.0, 0.8), ("activations", 8.0, 1.0)):
        patterns = tuple(
            Pattern(regex=f"stand-in for {rule} {level}", rule=rule, logit=factor * logit)
            for rule in rules
            for level, logit in (("plain", 5.2), ("veiled", 1.9), ("doubtful", 0.7))
        )
        config = ScriptedConfig(name=name, rules=rules, patterns=patterns, step=24)
        stages.append(Stage(scorer=ScriptedScorer(config), weight=weight))
    return Guard(
        Cascade(stages),
        Policy(hold_back=40, rules={RuleId("privacy"): RulePolicy(action=Response.FLAG)}),
        edition=Edition(id="default", version="1.0"),
        artifact="424d93eacf4df51db3abc67918ca0cb804215569bc4a1d1ad944be3d3a0db83b",
        clock=time.monotonic,
    )


def _tokens(engine: Engine, now: float) -> dict[str, str]:
    tokens = {}
    with store.writing(engine) as connection:
        for name, mode, _ in USERS:
            _, tokens[name] = store.create_key(connection, name, mode=store.KeyMode(mode), now=now)
        _, tokens["admin"] = store.create_key(
            connection, "operator", role=store.KeyRole.ADMIN, now=now
        )
    return tokens


@contextmanager
def gateway(folder: Path) -> Iterator[tuple[str, dict[str, str], Haste]]:
    """The address of a gateway with a database, its keys, its clock."""
    database = f"sqlite:///{folder / 'console.db'}"
    clock = Haste(time.time(), time.monotonic())
    with ScriptedUpstream() as upstream:
        config = GatewayConfig.parse(
            {
                "upstreams": {"main": {"url": upstream.url, "kind": "both"}},
                "database": database,
                "keep_text": True,
                "judge_seconds": 60,  # the machine may be busy
            }
        )
        sink, keys = open_database(config, clock=time.monotonic, now=clock.now) or (None, None)
        with store.opened(database, create=False) as engine:
            tokens = _tokens(engine, time.time() - HOUR)
        parts = build_parts(config, sink=sink, keys=keys, loader=lambda _: make_guard())
        parts = replace(parts, clock=Clock(now=clock.now))
        with serve_in_thread(build_app(config, parts)) as address:
            clock.began = time.monotonic()
            yield address, tokens, clock


def send(address: str, tokens: dict[str, str], chance: random.Random, http: httpx2.Client) -> None:
    """One request: mostly benign, sometimes harmful in what is asked or answered."""
    user = chance.choices([name for name, _, _ in USERS], [weight for *_, weight in USERS])[0]
    words = "Here is how the seedlings are watered in the first week of spring. "
    pieces = tuple(re.findall(r"\S+\s*", words * chance.randrange(1, 3)))
    draw = chance.random()
    harm = ""
    if draw < 0.075:
        rule = chance.choices(RULES, WEIGHTS)[0]
        level = chance.choices(("plain", "veiled", "doubtful"), (5, 3, 2))[0]
        harm = f"stand-in for {rule} {level}"
    script = Script(
        pieces=(*pieces, harm) if draw >= 0.03 else pieces,
        delay=chance.lognormvariate(-7.0, 0.8),
    )
    prompt = f"{harm if draw < 0.03 else 'Tell me of gardens.'} {script.prompt()}"
    body = {
        "model": "m",
        "stream": True,
        "max_tokens": 500,
        "messages": [{"role": "user", "content": prompt}],
    }
    headers = {"authorization": f"Bearer {tokens[user]}"}
    http.post(address + chance.choice(ROUTES), json=body, headers=headers)


def drive(address: str, tokens: dict[str, str], clock: Haste) -> int:
    """An hour of traffic by the gateway's clock, that swells and ebbs; how many requests."""
    chance = random.Random(7)
    sent = 0
    with ThreadPoolExecutor(8) as pool, httpx2.Client(timeout=60, trust_env=False) as http:
        jobs = []
        while (left := clock.ends - clock.now()) > 20:
            swell = 1 + 0.55 * math.sin(left / 520) + 0.25 * math.sin(left / 140)
            jobs = [job for job in jobs if not job.done() or job.result()]
            if len(jobs) < 12:  # the machine may be slower than the script
                jobs.append(pool.submit(send, address, tokens, chance, http))
                sent += 1
            time.sleep(chance.expovariate(16 * swell))
        for job in jobs:
            job.result()
    return sent


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    path = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def sign_in(page: Page, address: str, token: str) -> None:
    """Through the form."""
    page.goto(f"{address}/console")
    page.fill("#key", token)
    page.press("#key", "Enter")
    page.wait_for_selector("#live")


PAGES = {
    "overview": "/console?span=1h",
    "overview-15m": "/console?span=15m",
    "events": "/console/events",
    "events-stopped": "/console/events?action=stop&rule=malware",
    "missing": "/console/nowhere",
}


def shoot(browser: Browser, address: str, tokens: dict[str, str], to: Path, *, every: bool) -> None:
    """The pictures."""
    to.mkdir(parents=True, exist_ok=True)
    sizes = {"wide": (1280, 800), "phone": (390, 844)} if every else {"wide": (1280, 1090)}
    for scheme in ("light", "dark"):
        for size, (width, height) in sizes.items():
            context = browser.new_context(
                color_scheme=scheme, viewport={"width": width, "height": height}
            )
            page = context.new_page()
            page.set_default_timeout(240_000)
            if every:
                page.goto(f"{address}/console")
                page.screenshot(path=to / f"sign-in-{size}-{scheme}.png", full_page=True)
            sign_in(page, address, tokens["admin"])
            if not every:
                name = {"light": "overview", "dark": "events"}[scheme]
                page.goto(address + PAGES[name])
                page.screenshot(path=to / f"console-{name}.png")
                context.close()
                continue
            for name, path in PAGES.items():
                page.goto(address + path)
                page.screenshot(path=to / f"{name}-{size}-{scheme}.png", full_page=True)
            page.goto(f"{address}/console/events?action=stop")
            page.keyboard.press("j")
            page.keyboard.press("Enter")
            page.wait_for_selector("#verdict")
            page.keyboard.press("s")
            page.wait_for_selector("pre.text")
            page.screenshot(path=to / f"event-{size}-{scheme}.png", full_page=True)
            page.keyboard.press("?")
            page.screenshot(path=to / f"keys-{size}-{scheme}.png")
            context.close()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=IMAGES)
    parser.add_argument("--all", action="store_true", help="Every page in every way.")
    given = parser.parse_args()
    os.environ.setdefault(store.ENVIRONMENT_KEY, store.new_vault_key())
    with (
        tempfile.TemporaryDirectory() as folder,
        gateway(Path(folder)) as (address, tokens, clock),
    ):
        print(f"{drive(address, tokens, clock)} requests")
        time.sleep(1)
        with chromium() as browser:
            shoot(browser, address, tokens, given.folder, every=given.all)


if __name__ == "__main__":
    main()
