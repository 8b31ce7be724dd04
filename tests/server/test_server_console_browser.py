"""The console in a real browser: accessible in light and dark, wide and narrow; keys; renewal.

Needs Debian's chromium and playwright; axe-core comes from the npm registry into a cache outside
the repository (CUSTODES_AXE names a copy that is there already). What is missing skips.
"""

import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from server_doubles import CAKE, MARKER, gateway

from custodes.config import cache_folder
from custodes.server.auth import hash_key
from custodes.store import Event

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium")
AXE = "axe-core@4.14.1"
TOKEN = "token-of-admin"
KEYS = [{"id": "the-admin", "sha256": hash_key(TOKEN), "role": "admin"}]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"wide": (1280, 800), "phone": (360, 740)}


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The source of axe-core."""
    known = Path(os.environ.get("CUSTODES_AXE") or cache_folder() / "test" / "axe.min.js")
    if not known.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("axe-core is not there and npm, to fetch it, is not installed")
        folder = tmp_path_factory.mktemp("axe")
        done = subprocess.run(
            [npm, "pack", AXE, "--silent"], cwd=folder, capture_output=True, text=True, check=False
        )
        packed = list(folder.glob("axe-core-*.tgz"))
        if not packed:
            pytest.skip(f"axe-core cannot be fetched: {done.stderr[-200:]}")
        with tarfile.open(packed[0]) as archive:
            source = archive.extractfile("package/axe.min.js")
            known.parent.mkdir(parents=True, exist_ok=True)
            known.write_bytes(source.read())
    return known.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def make_events(count=80):
    now = time.time()
    outcomes = [("enforce", "stop", CAKE), ("flag", "stop", "pie"), ("shadow", "stop", "tart"),
                ("enforce", "release", "pie")]  # fmt: skip
    for n in range(count):
        mode, action, rule = outcomes[n // 5 % 4] if n % 5 == 0 else ("enforce", "release", None)
        yield Event(
            id=f"{n:032}", at=now - 40 * (count - n), key="the-admin", route="/v1/messages",
            mode=mode, judged="input" if n % 2 else "exchange", action=action, rule=rule,
            score=0.9 if rule else 0.03, logits={"scripted": 2.0, "other": -1.0},
            versions={"constitution": "bakery@1", "artifact": "artifact-1"},
            latency_ms=2.0 + n % 17, text="What was said.", stop_at=5 if rule else None,
            failure="it broke" if n == 11 else None,
        )  # fmt: skip


@pytest.fixture(scope="module")
def console(upstream):
    with gateway(upstream, keys=KEYS, keep_text=True) as running:
        running.sink.events.extend(make_events())
        yield running


@pytest.fixture
def open_page(console, chromium):
    """Opens pages of the console; what a page says on its console or throws fails the test."""
    contexts, said, expected = [], [], ["status of 4"]

    def hear(message):
        if message.type in ("error", "warning"):
            said.append(message.text)

    def open_(
        path="/console", *, scheme="light", size="wide", signed=True, scripts=True, expects=()
    ):
        expected.extend(expects)
        width, height = SIZES[size]
        context = chromium.new_context(
            color_scheme=scheme,
            viewport={"width": width, "height": height},
            base_url=console.url,
            java_script_enabled=scripts,
        )
        context.set_default_timeout(180_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", hear)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto("/console")
        if signed:
            page.fill("#key", TOKEN)
            page.press("#key", "Enter")
            page.wait_for_selector("#live")
        if path != "/console":
            page.goto(path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [text for text in said if not any(part in text for part in expected)] == []


def violations(page, axe):
    # Not by a script element, which the console's policy would refuse, as it should.
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        (each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found["violations"]
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_and_fits(open_page, axe, scheme, size):
    page = open_page(scheme=scheme, size=size, signed=False)
    paths = ["/console/sign-in", "/console?span=1h", "/console?span=7d", "/console/events",
             "/console/events?rule=nobody", "/console/events/76", "/console/events/76?text=1",
             "/console/events/12", "/console/nowhere"]  # fmt: skip
    for path in paths:
        page.goto(path)
        assert violations(page, axe) == [], path
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= SIZES[size][0], f"{path} is {wide} wide"
        if path == "/console/sign-in":
            page.fill("#key", "wrong")
            page.press("#key", "Enter")
            page.wait_for_selector("[role=alert]")
            assert violations(page, axe) == [], "a failed sign-in"
            page.fill("#key", TOKEN)
            page.press("#key", "Enter")
            page.wait_for_selector("#live")
    page.keyboard.press("?")
    assert page.locator("#sheet").is_visible()
    assert violations(page, axe) == [], "the sheet of keys"


@pytest.fixture(autouse=True)
def no_limit(console):
    console.app.state.service._limiter._full_at.clear()


def test_a_planted_fault_is_found(open_page, axe):
    page = open_page()
    page.evaluate(
        "document.querySelector('main').innerHTML += '<img src=/console/static/icon.svg>'"
    )
    assert [rule for rule, _ in violations(page, axe)] == ["image-alt"]


def test_the_keys_lead_everywhere(open_page):
    page = open_page()
    page.keyboard.press("3")
    page.wait_for_url("**/console?span=24h")
    page.keyboard.press("g")
    page.keyboard.press("e")
    page.wait_for_url("**/console/events")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.id") == "event-79"
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/events/79")
    page.keyboard.press("j")
    page.wait_for_url("**/console/events/78")
    page.keyboard.press("k")
    page.wait_for_url("**/console/events/79")
    page.keyboard.press("s")
    page.wait_for_selector("pre.text")
    assert "What was said." in page.inner_text("pre.text")
    page.keyboard.press("u")
    page.wait_for_url("**/console/events")
    page.keyboard.press("o")
    page.wait_for_url("**/console/events?before=31")
    page.keyboard.press("n")
    page.wait_for_url("**/console/events")
    page.keyboard.press("f")
    page.select_option("select[name=action]", "stop")
    page.wait_for_url("**/console/events?action=stop")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("x")
    page.wait_for_url("**/console/events")


def test_the_sheet_of_keys_opens_and_closes_and_gives_the_focus_back(open_page):
    page = open_page()
    page.focus(".spans a")
    page.keyboard.press("?")
    sheet = page.locator("#sheet")
    assert sheet.is_visible()
    assert "Events" in sheet.inner_text()
    page.keyboard.press("p")  # nothing happens behind it
    assert page.get_attribute("[data-pause]", "aria-pressed") == "false"
    page.keyboard.press("Escape")
    assert not sheet.is_visible()
    assert page.evaluate("document.activeElement.closest('.spans') !== null")


def test_the_colors_follow_the_system_until_they_are_chosen(open_page):
    page = open_page(scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(paper)
    assert light != dark
    page.keyboard.press("t")  # light
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(paper) == light
    page.reload()
    assert page.evaluate(paper) == light
    page.keyboard.press("t")  # dark
    page.emulate_media(color_scheme="light")
    assert page.evaluate(paper) == dark
    page.keyboard.press("t")  # the system's
    assert page.evaluate(paper) == light


def test_what_comes_in_appears_by_itself_and_pausing_stops_that(open_page, console):
    page = open_page("/console/events")
    asked = []
    page.on("request", lambda request: asked.append(request.headers.get("hx-request")))
    page.focus("#event-80")
    headers = {"authorization": f"Bearer {TOKEN}"}
    body = {"model": "m", "messages": [{"role": "user", "content": MARKER}]}
    console.post("/v1/chat/completions", body, headers=headers)
    page.wait_for_selector("#event-81")
    assert page.evaluate("document.activeElement.id") == "event-80"  # the focus stays
    page.keyboard.press("p")
    assert page.get_attribute("[data-pause]", "aria-pressed") == "true"
    page.wait_for_timeout(1000)
    asked.clear()
    page.wait_for_timeout(4000)
    assert asked == []
    page.keyboard.press("p")
    page.wait_for_timeout(4000)
    assert "true" in asked


def test_a_hidden_page_asks_for_nothing(open_page):
    page = open_page("/console")
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {configurable: true, get: () => true})"
    )
    page.wait_for_timeout(1000)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(6500)
    assert asked == []
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(2000)
    assert asked != []


def test_a_gateway_that_is_lost_is_said_and_forgotten_when_it_is_back(open_page):
    page = open_page("/console/events", expects=["net::ERR_FAILED", "Failed to fetch"])
    page.route("**/console/events", lambda route: route.abort())
    page.wait_for_selector("#lost:not([hidden])")
    page.unroute("**/console/events")
    page.wait_for_selector("#lost", state="hidden")


def test_a_session_that_ended_leads_to_the_sign_in(open_page):
    page = open_page("/console/events")
    page.context.clear_cookies()
    page.wait_for_selector("#key")


def test_the_policy_stops_a_script_that_got_in(open_page):
    page = open_page(expects=["Content Security Policy"])
    blocked = page.evaluate(
        """() => new Promise((resolve) => {
            const name = 'securitypolicyviolation';
            document.addEventListener(name, (e) => resolve(e.effectiveDirective));
            const script = document.createElement('script');
            script.textContent = 'window.planted = true';
            document.body.append(script);
            setTimeout(() => resolve('nothing'), 3000);
        })"""
    )
    assert blocked == "script-src-elem"
    assert page.evaluate("window.planted") is None


def test_everything_but_renewal_works_without_scripts(open_page):
    page = open_page("/console/events", scripts=False)
    page.select_option("select[name=action]", "stop")
    page.click("[data-apply]")
    page.wait_for_url("**action=stop**")
    page.click("tbody a.row >> nth=0")
    page.wait_for_selector("#verdict")
    page.click("text=Sign out")
    page.wait_for_selector("#key")


def test_the_chain_is_verified_by_a_key(chromium, upstream, tmp_path, monkeypatch):
    from dataclasses import replace

    from custodes.server.app import build_app, build_parts
    from custodes.server.config import GatewayConfig
    from custodes.server.demonstration import serve_in_thread
    from custodes.server.persistence import open_database

    config = GatewayConfig.parse(
        {
            "guard": None,
            "upstreams": {"main": {"url": upstream.url}},
            "no_auth": True,
            "database": f"sqlite:///{tmp_path / 'custodes.db'}",
        }
    )
    sink, _ = open_database(config, clock=time.monotonic)
    parts = replace(build_parts(config, sink=sink), keys=None)
    with serve_in_thread(build_app(config, parts)) as url:
        for event in make_events(30):
            sink._log.append(event).result()
        context = chromium.new_context(base_url=url)
        page = context.new_page()
        page.goto("/console/events")
        assert "has not been verified" in page.inner_text("#chain")
        page.keyboard.press("v")
        page.wait_for_selector("#chain .state.good")
        assert "30 events verified just now" in page.inner_text("#chain")
        page.goto("/console")
        assert "intact" in page.inner_text("[aria-labelledby=record]")
        context.close()
