"""The console over plain HTTP: who may look, what is escaped, what the headers say."""

import re
import time

import httpx2
import pytest
from server_doubles import CAKE, MARKER, gateway, make_guard

from custodes.server.auth import hash_key
from custodes.server.console import sessions
from custodes.server.console.plots import Series, Unit, lines, stacks
from custodes.server.console.records import Window
from custodes.server.console.sessions import COOKIE, Sessions
from custodes.server.console.words import ago, milliseconds, moment, percent, rate
from custodes.store import Event

TOKENS = {role: f"token-of-{role}" for role in ("client", "reviewer", "admin")}
KEYS = [{"id": f"the-{role}", "sha256": hash_key(t), "role": role} for role, t in TOKENS.items()]
EVIL = """</title><script>alert("1")</script>'&quot;{{ 7*7 }}"""
PAGES = ("/console", "/console/events", "/console/events/1", "/console?span=7d", "/console/nope")


@pytest.fixture(scope="module")
def console(upstream):
    with gateway(upstream, keys=KEYS, keep_text=True) as running:
        headers = {"authorization": f"Bearer {TOKENS['client']}"}
        for text in ("hello", MARKER):
            body = {"model": "m", "messages": [{"role": "user", "content": text}]}
            running.post("/v1/chat/completions", body, headers=headers)
        running.wait_for(lambda: len(running.sink.events) == 3)
        yield running


@pytest.fixture
def browser(console):
    """A client with a jar of cookies of its own."""
    with httpx2.Client(base_url=console.url, timeout=20, trust_env=False) as http:
        yield http


@pytest.fixture(autouse=True)
def no_limit(request):
    """Sign-ins of one test do not use up another's."""
    if "console" in request.fixturenames:
        limiter = request.getfixturevalue("console").app.state.service._limiter
        limiter._full_at.clear()


def sign_in(http, role, **fields):
    form = {"key": TOKENS.get(role, role), "next": "/console", **fields}
    return http.post("/console/sign-in", data=form)


def word_in(page):
    return re.search(r'name="word" value="([^"]+)"', page)[1]


@pytest.mark.parametrize("page", PAGES)
def test_without_a_session_every_page_leads_to_the_sign_in(browser, page):
    response = browser.get(page)
    assert response.status_code == 303
    assert response.headers["location"].startswith("/console/sign-in")
    live = browser.get(page, headers={"hx-request": "true"})
    assert (live.status_code, live.headers["hx-redirect"]) == (401, "/console/sign-in")


def test_nothing_can_be_sent_without_a_session(browser):
    for path in ("/console/sign-out", "/console/chain/verify"):
        response = browser.post(path, data={"word": "x"})
        assert (response.status_code, response.headers["location"]) == (303, "/console/sign-in")


def test_the_sign_in_leads_back_to_the_page_that_was_wanted(browser):
    wanted = "/console/events?rule=cake&before=3"
    to_door = browser.get(wanted).headers["location"]
    door = browser.get(to_door)
    assert door.status_code == 200
    assert 'value="/console/events?rule=cake&amp;before=3"' in door.text
    response = sign_in(browser, "reviewer", next=wanted)
    assert (response.status_code, response.headers["location"]) == (303, wanted)
    assert browser.get(wanted).status_code == 200


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example/console", "//evil.example/console", "/v1/models", "/console/sign-in",
     "javascript:alert(1)", "/console\\@evil", "/consoles", "", "\n//evil", "//[evil",
     "/console/../v1"],
)  # fmt: skip
def test_the_sign_in_leads_nowhere_else(browser, wanted):
    response = sign_in(browser, "reviewer", next=wanted)
    target = response.headers["location"]
    assert target == "/console" or target.startswith("/console/")
    assert "evil" not in target.partition("@")[0] or target == "/console"


def test_the_cookie_is_kept_from_scripts_and_other_sites(browser):
    cookie = sign_in(browser, "admin").headers["set-cookie"]
    name, *attributes = [part.strip().lower() for part in cookie.split(";")]
    assert name.startswith(COOKIE)
    assert {"httponly", "samesite=strict", "path=/console"} <= set(attributes)
    assert TOKENS["admin"] not in cookie
    assert hash_key(TOKENS["admin"]) not in cookie


@pytest.mark.parametrize(("role", "status"), [("client", 403), ("nobody", 401), ("", 401)])
def test_a_client_s_key_and_no_key_stay_outside(browser, role, status):
    response = sign_in(browser, role)
    assert response.status_code == status
    assert COOKIE not in response.headers.get("set-cookie", "")
    assert 'role="alert"' in response.text
    assert browser.get("/console").status_code == 303


def test_a_cookie_that_was_tampered_with_is_refused(browser):
    sign_in(browser, "reviewer")
    good = browser.cookies[COOKIE]
    assert browser.get("/console").status_code == 200
    body, _, signature = good.partition(".")
    forged = Sessions("another secret", now=time.time).issue(KeyLike("the-admin"))
    for bad in (
        # not the last sign of all, some bits of which say nothing
        good[:-2] + ("A" if good[-2] != "A" else "B") + good[-1],
        body[:-1] + ("A" if body[-1] != "A" else "B") + "." + signature,
        body + ".",
        "." + signature,
        "x",
        "[]",
        forged,
    ):
        browser.cookies.clear()
        response = browser.get("/console", headers={"cookie": f"{COOKIE}={bad}"})
        assert response.status_code == 303, bad


class KeyLike:
    def __init__(self, id_):
        self.id = id_


def test_a_session_ends_with_time_with_its_key_and_with_its_role(console, browser):
    service = console.app.state.service
    for now, key in (
        (time.time() - sessions.SECONDS - 1, "the-admin"),  # too old
        (time.time() + 3600, "the-admin"),  # from the future
        (time.time(), "revoked"),
        (time.time(), "the-client"),  # whose role may not look
    ):
        maker = Sessions("x", now=lambda now=now: now)
        maker._signer = service.sessions._signer
        response = browser.get(
            "/console", headers={"cookie": f"{COOKIE}={maker.issue(KeyLike(key))}"}
        )
        assert response.status_code == 303, (now, key)


def test_signing_out_takes_the_word_of_the_session(browser):
    sign_in(browser, "reviewer")
    page = browser.get("/console")
    assert browser.post("/console/sign-out", data={"word": "guess"}).status_code == 403
    assert browser.post("/console/sign-out", data={"a": "b"}).status_code == 403
    assert browser.get("/console").status_code == 200
    out = browser.post("/console/sign-out", data={"word": word_in(page.text)})
    assert (out.status_code, out.headers["location"]) == (303, "/console/sign-in")
    assert browser.get("/console").status_code == 303


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://["},
     {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}],
)  # fmt: skip
def test_forms_of_other_sites_are_refused(browser, headers):
    form = {"key": TOKENS["admin"]}
    assert browser.post("/console/sign-in", data=form, headers=headers).status_code == 403
    sign_in(browser, "reviewer")
    word = word_in(browser.get("/console").text)
    response = browser.post("/console/sign-out", data={"word": word}, headers=headers)
    assert response.status_code == 403


def test_forms_that_are_none_are_refused(browser):
    assert browser.post("/console/sign-in", json={"key": "x"}).status_code == 415
    assert sign_in(browser, "x" * 10_000).status_code == 413
    kind = {"content-type": "application/x-www-form-urlencoded"}
    many = "&".join(f"a{n}=1" for n in range(500))
    for content in (many, b"\xff\xfe=\x00", "&&&===", "key=%ff%00"):
        response = browser.post("/console/sign-in", content=content, headers=kind)
        assert response.status_code in (400, 401), content


def test_attempts_to_sign_in_are_limited(browser):
    answers = [sign_in(browser, f"guess {n}") for n in range(15)]
    assert {answer.status_code for answer in answers} == {401, 429}
    assert sign_in(browser, "admin").status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert "wait" in answers[-1].text


def test_the_policy_lets_no_other_script_or_style_run(browser):
    sign_in(browser, "admin")
    for page in (*PAGES, "/console/sign-in", "/console/static/console.js"):
        response = browser.get(page)
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        if page.startswith("/console/static"):
            assert "immutable" in response.headers["cache-control"]
            continue
        assert response.headers["cache-control"] == "no-store"
        assert re.findall(r"<script(?![^>]* src=)", response.text) == []
        assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", response.text) == []


def test_names_are_escaped_wherever_they_are_shown(console, browser):
    service = console.app.state.service
    event = Event(
        id=EVIL, at=time.time(), key=EVIL, route=EVIL, mode=EVIL, judged="input", action="stop",
        score=0.5, rule=EVIL, logits={EVIL: 1.0}, versions={EVIL: EVIL, "artifact": EVIL},
        failure=EVIL, text=EVIL + "\0\ud800",
    )  # fmt: skip
    sink = console.sink
    sink.events.append(event)
    try:
        sign_in(browser, "admin")
        seq = len(sink.events)
        pages = [
            "/console", "/console/events", f"/console/events/{seq}",
            f"/console/events/{seq}?text=1",
        ]  # fmt: skip
        responses = [browser.get(page) for page in pages]
        query = {"rule": EVIL, "key": EVIL, "route": EVIL, "action": EVIL, "before": EVIL}
        responses.append(browser.get("/console/events", params=query))
        responses.append(browser.get("/console", params={"span": EVIL}))
        responses.append(browser.get("/console/" + EVIL.replace("?", "")))
        responses.append(browser.get("/console/sign-in", params={"next": "/console/" + EVIL}))
        for response in responses:
            assert response.status_code in (200, 404), response.text
            assert "<script>alert" not in response.text
            assert "{{ 7*7 }}" in response.text or "49" not in response.text
        assert all("&lt;script&gt;" in response.text for response in responses[:5])
        assert service.problems() == []
    finally:
        sink.events.remove(event)


def test_the_overview_says_what_happens(console, browser):
    sign_in(browser, "reviewer")
    for span in ("15m", "1h", "24h", "7d", "nonsense"):
        page = browser.get("/console", params={"span": span}).text
        assert "bakery@1" in page and "artifact-1" in page
        assert f"/console/events?rule={CAKE}" in page
        assert "Requests per second; at most" in page
        assert page.count('role="img"') == 4  # traffic, rules, latency of input and of replies
    live = browser.get("/console?span=15m", headers={"hx-request": "true"}).text
    assert live.lstrip().startswith('<div id="live"')
    assert "<html" not in live


def test_events_can_be_filtered_and_opened(console, browser):
    sign_in(browser, "reviewer")

    def rows(**query):
        page = browser.get("/console/events", params=query)
        assert page.status_code == 200
        return re.findall(r'id="row-(\d+)"', page.text)

    assert rows() == ["3", "2", "1"]
    assert rows(action="stop") == ["3"]
    assert rows(rule=CAKE, key="the-client", route="/v1/chat/completions") == ["3"]
    assert rows(key="the-admin") == rows(rule="nobody") == []
    assert rows(before="3") == ["2", "1"]
    assert rows(before="x") == rows(before="-1") == rows(before="9" * 30) == rows()
    page = browser.get("/console/events/3").text
    assert "bakery@1" in page and "scripted" in page and CAKE in page
    for seq in ("4", "0", "-1", "x", "9" * 40, "%00", "1.0", "٣"):
        assert browser.get(f"/console/events/{seq}").status_code == 404


def test_texts_are_for_admins_on_demand(console, browser, caplog):
    sign_in(browser, "reviewer")
    assert MARKER not in browser.get("/console/events/3").text
    assert browser.get("/console/events/3?text=1").status_code == 403
    browser.cookies.clear()
    sign_in(browser, "admin")
    assert MARKER not in browser.get("/console/events/3").text
    with caplog.at_level("INFO", "custodes.server"):
        assert MARKER in browser.get("/console/events/3?text=1").text
    (logged,) = [r for r in caplog.records if r.message == "a text was read"]
    assert logged.fields == {"key": "the-admin", "event": 3}


def test_keys_that_cannot_be_told_apart_are_refused(upstream):
    twice = [*KEYS, {**KEYS[0], "sha256": hash_key("other")}]
    with pytest.raises(Exception, match="two have the same id"), gateway(upstream, keys=twice):
        pass


def test_without_keys_only_localhost_may_look(running):
    page = running.http.get(running.url + "/console")
    assert page.status_code == 200
    assert "Sign out" not in page.text
    rebound = running.http.get(running.url + "/console", headers={"host": "evil.example"})
    assert rebound.status_code == 403
    to_home = running.http.get(running.url + "/console/sign-in")
    assert (to_home.status_code, to_home.headers["location"]) == (303, "/console")
    assert (
        running.http.post(running.url + "/console/chain/verify", data={"a": "b"}).status_code == 403
    )


def test_a_gateway_that_judges_nothing_says_so(upstream):
    with gateway(upstream, None) as running:
        page = running.http.get(running.url + "/console").text
        assert "none: nothing is judged" in page
        assert running.http.get(running.url + "/console/events").status_code == 200


def test_problems_stand_on_the_overview(upstream):
    with gateway(upstream) as running:
        running.app.state.service.recorder.healthy = False
        page = running.http.get(running.url + "/console").text
        assert "Not ready." in page and "events cannot be recorded" in page


def test_the_console_can_be_left_out_and_stays_out_of_the_schema(upstream, running):
    schema = running.http.get(running.url + "/openapi.json").json()
    assert [path for path in schema["paths"] if path.startswith("/console")] == []
    with gateway(upstream, console=False) as other:
        assert other.http.get(other.url + "/console").status_code == 404


def test_static_files_are_those_of_the_folder(running):
    for name, kind in (("console.css", "text/css"), ("htmx-LICENSE.txt", "text/plain")):
        response = running.http.get(f"{running.url}/console/static/{name}")
        assert response.headers["content-type"].startswith(kind)
    for name in ("nothing.js", "..%2fapp.py", "%2e%2e/app.py", "..\\app.py", "__init__.py"):
        response = running.http.get(f"{running.url}/console/static/{name}")
        assert response.status_code == 404


def test_a_reloaded_guard_shows_its_rules(upstream):
    versions = iter("12")
    with gateway(upstream, lambda: make_guard(version=next(versions))) as running:
        assert "bakery@1" in running.http.get(running.url + "/console").text
        assert running.http.post(running.url + "/v1/admin/reload").status_code == 200
        page = running.http.get(running.url + "/console").text
        assert "bakery@2" in page


UNIT = Unit(show=milliseconds, mark=milliseconds)


@pytest.mark.parametrize(
    "values", [[None] * 4, [0.0] * 4, [1.0, None, 1.0, 5.0], [1e-9, 1e9, 1, 1]]
)
def test_plots_of_any_values_are_well_formed(values):
    from xml.etree import ElementTree

    window = Window(since=0, until=60, bucket=15)
    series = [Series(name="<&\"'>", values=values, style=0)]
    for plot in (lines, stacks):
        drawn = plot(window, series, title="<&\"'>", unit=UNIT)
        tree = ElementTree.fromstring(drawn)
        assert tree.tag == "div"
        numbers = re.findall(r'(?:x|y|width|height)="(-?[\d.]+)"', drawn)
        assert all(abs(float(each)) < 2000 for each in numbers)


def test_values_are_said_in_fitting_units():
    assert [percent(v) for v in (0, 1e-6, 0.0004, 0.0123, 0.5, 1)] == [
        "0 %", "< 0.01 %", "0.04 %", "1.2 %", "50 %", "100 %",
    ]  # fmt: skip
    assert [rate(v) for v in (0, 0.0123, 1.25, 99.94, 1234.5)] == [
        "0", "0.012", "1.2", "99.9", "1,234",
    ]  # fmt: skip
    assert [milliseconds(v) for v in (0.0123, 1, 5.23, 120.4, 1234, 2e6)] == [
        "0.012 ms", "1 ms", "5.2 ms", "120 ms", "1.23 s", "2,000 s",
    ]  # fmt: skip
    assert [ago(v) for v in (-5, 59, 60, 7200, 90000)] == [
        "just now", "just now", "1 min ago", "2 h ago", "1 d ago",
    ]  # fmt: skip
    assert moment(0) == "1970-01-01 00:00:00"
    assert moment(1e300) == "1e+300"
