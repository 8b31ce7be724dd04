"""A whole review session in real Chromium, by keyboard alone; every page accessible and fitting.

Needs Debian's chromium and playwright, as `test_server_console_browser`; axe-core likewise.
CUSTODES_SCREENSHOTS names a folder to keep pictures in (docs/images has ours).
"""

import os
import shutil
import time
from pathlib import Path

import pytest
from review_console import ARMS, TOKENS, fill, make_case, review_gateway
from test_server_console_browser import ARGUMENTS, CHROMIUM, SIZES, axe, chromium, violations

from custodes.review.arms import Arm
from custodes.review.cases import Quote
from custodes.review.config import QueueConfig
from custodes.types import Message

__all__ = ["axe", "chromium"]

pytestmark = pytest.mark.slow

assert ARGUMENTS
assert CHROMIUM or not shutil.which("chromium")


@pytest.fixture
def console(upstream, tmp_path):
    with review_gateway(upstream, f"sqlite:///{tmp_path / 'review.db'}") as found:
        yield found


@pytest.fixture
def sign_in(console, chromium):
    """A page at which somebody signed in by keyboard: `sign_in("ann")`."""
    contexts, said = [], []

    def sign(name, *, scheme="light", size="wide", path="/console/review"):
        console[0].app.state.service._limiter._full_at.clear()
        width, height = SIZES[size]
        context = chromium.new_context(
            color_scheme=scheme,
            viewport={"width": width, "height": height},
            base_url=console[0].url,
        )
        context.set_default_timeout(180_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path)
        page.keyboard.type(TOKENS[name])  # the field has the focus
        page.keyboard.press("Enter")
        page.wait_for_selector(".who", state="attached")
        return page

    yield sign
    for context in contexts:
        context.close()
    assert said == []


def picture(page, name):
    if folder := os.environ.get("CUSTODES_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def case_on(page):
    return page.get_attribute("#card", "data-case")


def answer(page, key):
    """One key; waits for the next case to be there and the answer to be acknowledged."""
    before = case_on(page)
    count = len(page.query_selector_all(".last li"))
    page.keyboard.press(key)
    page.wait_for_function("c => document.getElementById('card').dataset.case !== c", arg=before)
    if count < 10:
        page.wait_for_function("n => document.querySelectorAll('.last li').length > n", arg=count)
    return before


def test_a_whole_session_by_keyboard_alone(console, sign_in):
    _, desk = console
    fill(desk, 20, raters=2, arms=ARMS)
    page = sign_in("ann")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("#card")
    assert page.url.endswith("/console/review/cakes")

    # Twenty cases over three arms; in the middle of them a draft, a reload, an undo.
    seen = []
    for n in range(20):
        if n == 5:
            page.keyboard.press("n")
            page.keyboard.type("half a thought")
            page.keyboard.press("Escape")
            page.keyboard.press("]")
            page.keyboard.press("]")
            page.wait_for_function(
                "() => document.querySelector('[data-saved]').textContent === 'Draft kept'"
            )
            case = case_on(page)
            page.reload()
            page.wait_for_selector("#card")
            assert case_on(page) == case
            assert page.input_value("#note") == "half a thought"
            assert page.is_checked("input[name=confidence][value='0.8']")
        if n == 7:
            page.wait_for_selector("mark.quote, #card")
            picture(page, "review-judge")
        if n == 10:
            page.keyboard.press("u")
            page.wait_for_function(
                "c => document.getElementById('card').dataset.case === c", arg=seen[-1]
            )
            assert page.query_selector(".choices .before").inner_text().startswith("harmful")
            assert answer(page, "2") == seen[-1]
        seen.append(answer(page, "1" if n % 3 == 0 else "2"))
    assert len(set(seen)) == 20
    assert "Nothing waits for you" in page.inner_text("#card")

    rated = [each for each in desk.rated("cakes", limit=99) if each.judgment.rater == "ann"]
    assert len(rated) == 20
    arms = [each.judgment.arm for each in rated]
    assert sorted(map(arms.count, ARMS)) == [6, 7, 7]
    noted = [each for each in rated if each.judgment.note]
    assert [each.judgment.note for each in noted] == ["half a thought"]
    assert noted[0].judgment.confidence == 0.8
    assert sum(each.judgment.changes for each in rated) == 1
    assert all(each.judgment.seconds >= 0 for each in rated)

    # A second rater judges them all, and disagrees at times.
    while (claim := desk.next("cakes", "bob")) is not None:
        desk.submit("cakes", "bob", claim.stored.id, "harmful" if claim.stored.id % 2 else "benign")
    conflicts = desk.progress("cakes").conflict
    assert 0 < conflicts < 20

    # The chief settles every conflict, then looks at agreement.
    chief = sign_in("chief", path="/console/review/cakes")
    chief.wait_for_selector("#card")
    chief.keyboard.press("g")
    chief.keyboard.press("x")
    chief.wait_for_url("**/conflicts")
    picture(chief, "review-conflict")
    for n in range(conflicts):
        chief.wait_for_selector(f"a:has-text('Conflicts ({conflicts - n})')") if n == 0 else None
        case = case_on(chief)
        with chief.expect_navigation():
            chief.keyboard.press("1")
        assert case != (
            chief.get_attribute("#card", "data-case") if chief.query_selector("#card") else None
        )
    assert "No conflict waits" in chief.inner_text("main")
    assert desk.progress("cakes").done == 20
    chief.keyboard.press("g")
    chief.keyboard.press("a")
    chief.wait_for_url("**/agreement")
    chief.wait_for_selector("text=Krippendorff")
    assert "Gwet" in chief.inner_text("main")
    picture(chief, "review-agreement")
    chief.keyboard.press("g")
    chief.keyboard.press("c")
    chief.wait_for_url("**/cases")
    chief.keyboard.press("j")
    chief.keyboard.press("Enter")
    chief.wait_for_url("**/story/*")
    assert "adjudication" in chief.inner_text("main") or "agreement" in chief.inner_text("main")


def test_the_keys_stand_on_the_buttons_and_on_the_sheet(console, sign_in):
    _, desk = console
    fill(desk, 2, arms=(Arm.CONFIDENCE,))
    page = sign_in("ann", path="/console/review/cakes")
    page.wait_for_selector("#card")
    for key, name in (("1", "harmful"), ("2", "benign"), ("3", "unsure"), ("u", "Undo")):
        button = page.query_selector(f"button[data-key='{key}']")
        assert name in button.inner_text()
        assert button.query_selector("kbd").inner_text() == key
    page.keyboard.press("?")
    sheet = page.inner_text("#sheet")
    for words in ("Answer: harmful", "Undo the last answer", "Quote before, next quote"):
        assert words in sheet
    picture(page, "review-keys")
    page.keyboard.press("1")  # not while the sheet is open
    page.keyboard.press("Escape")
    assert desk.last("cakes", "ann") == []


def test_quotes_are_jumped_to_and_long_talks_have_an_outline(console, sign_in):
    _, desk = console
    turns = tuple(
        Message("user" if n % 2 == 0 else "assistant", f"Turn {n} is about bread. " * 30)
        for n in range(16)
    )
    quotes = tuple(Quote(place=f"message:{n}", start=0, end=23, score=1.0) for n in (1, 8, 14))
    desk.put("long", QueueConfig(arms=(Arm.EVIDENCE,)))
    desk.add("long", [make_case(1, messages=turns, evidence=quotes, documents=())])
    page = sign_in("ann", path="/console/review/long")
    page.wait_for_selector("#card")
    assert len(page.query_selector_all(".outline li")) == 16
    places = []
    for key in (".", ".", ".", ","):
        page.keyboard.press(key)
        page.wait_for_selector("mark.at")
        places.append(page.get_attribute("mark.at", "data-quote"))
    assert places == ["1", "2", "3", "2"]
    box = page.query_selector("mark.at").bounding_box()
    assert 0 <= box["y"] <= SIZES["wide"][1]


def test_a_blind_queue_by_keyboard(console, sign_in):
    _, desk = console
    fill(desk, 2, arms=(Arm.CONFIDENCE,), blind=True)
    page = sign_in("ann", path="/console/review/cakes")
    page.wait_for_selector("#card")
    case = case_on(page)
    assert page.query_selector(".help") is None
    page.keyboard.press("2")
    page.wait_for_selector(".help")
    assert case_on(page) == case
    assert "You first said benign" in page.inner_text("#card")
    answer(page, "1")
    (last,) = desk.last("cakes", "ann")
    assert (last.judgment.first_answer, last.judgment.answer) == ("benign", "harmful")


def test_an_answer_that_cannot_be_stored_comes_back(console, sign_in):
    _, desk = console
    fill(desk, 3, arms=(Arm.NONE,))
    page = sign_in("ann", path="/console/review/cakes")
    page.wait_for_selector("#card")
    case = case_on(page)
    page.route("**/answer", lambda route: route.abort())
    page.keyboard.press("1")
    page.wait_for_selector("#trouble:not([hidden])")
    assert "not stored" in page.inner_text("#trouble")
    assert case_on(page) == case
    page.unroute("**/answer")
    answer(page, "1")
    assert [each.case.id for each in desk.last("cakes", "ann")] == [int(case)]


def test_the_next_case_is_there_before_the_server_answers(console, sign_in):
    _, desk = console
    fill(desk, 4, arms=(Arm.NONE,))
    page = sign_in("ann", path="/console/review/cakes")
    page.wait_for_selector("#card")
    page.wait_for_timeout(1000)  # the card ahead comes
    held = []

    def hold(route):
        held.append(route)

    page.route("**/answer", hold)
    before = case_on(page)
    page.keyboard.press("1")
    page.wait_for_function("c => document.getElementById('card').dataset.case !== c", arg=before)
    until = time.monotonic() + 30
    while not held and time.monotonic() < until:
        page.wait_for_timeout(20)
    assert desk.last("cakes", "ann") == []  # shown, and not yet acknowledged
    held[0].continue_()
    page.wait_for_function("() => document.querySelectorAll('.last li').length === 1")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_and_fits(console, sign_in, axe, scheme, size):
    _, desk = console
    fill(desk, 12, raters=2, arms=(Arm.CONFIDENCE,))
    fill(desk, 2, queue="sides", arms=(Arm.CONTRAST,), blind=True)
    for rater in ("ann", "bob"):
        for n in range(6):
            claim = desk.next("cakes", rater)
            desk.submit(
                "cakes",
                rater,
                claim.stored.id,
                "harmful" if n == 0 and rater == "ann" else "benign",
            )
    page = sign_in("chief", scheme=scheme, size=size)
    paths = ["", "/cakes", "/sides", "/cakes/cases", "/cakes/cases?q=reply", "/cakes/cases?q=none",
             "/cakes/conflicts", "/cakes/agreement", "/cakes/story/1"]  # fmt: skip
    for path in paths:
        page.goto(f"/console/review{path}")
        if path.endswith("agreement"):
            page.wait_for_selector("text=Krippendorff")
        assert violations(page, axe) == [], path
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= SIZES[size][0], f"{path} is {wide} wide"
    if scheme == "dark" and size == "phone":
        page.goto("/console/review/cakes")
        picture(page, "review-phone")
