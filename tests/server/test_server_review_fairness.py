"""Review over HTTP: nothing vanishes without a word, and nothing tells a check from a case."""

import re
import time

from review_console import fill, make_case
from server_doubles import MARKER
from test_server_review import case_of, console, feeding, field, signed

from custodes.errors import StoreError
from custodes.review.arms import Arm
from custodes.server.routes import review_lists
from custodes.store import new_vault_key

__all__ = ["console", "signed"]

BASE = "/console/review/cakes"


def disagree(desk):
    """A case in conflict: its id."""
    claims = [desk.next("cakes", rater) for rater in ("ann", "bob")]
    for claim, answer in zip(claims, ("benign", "harmful"), strict=True):
        desk.submit("cakes", claim.judgment.rater, claim.stored.id, answer)
    return claims[0].stored.id


def test_a_ruling_that_came_too_late_is_told(console, signed):
    _, desk = console
    fill(desk, 1, raters=2, arms=(Arm.NONE,))
    id_ = disagree(desk)
    desk.set_skills("bob", ["adjudicate"])
    chief, bob = signed("chief"), signed("bob")
    page = chief.get(f"{BASE}/conflicts")
    fields = {"word": field(page, "word"), "answer": "harmful"}
    assert chief.post(f"{BASE}/conflicts/{id_}", data=fields).status_code == 303
    assert chief.post(f"{BASE}/conflicts/{id_}", data=fields).status_code == 303  # clicked twice
    late = {"word": field(bob.get(BASE), "word"), "answer": "benign"}
    said = bob.post(f"{BASE}/conflicts/{id_}", data=late)
    assert said.status_code == 409
    assert "settled meanwhile" in said.text
    changed = chief.post(f"{BASE}/conflicts/{id_}", data={**fields, "answer": "benign"})
    assert changed.status_code == 409


def test_a_note_that_came_with_the_first_answer_is_there_after_it(console, signed):
    _, desk = console
    fill(desk, 1, arms=(Arm.JUDGMENT,), blind=True)
    ann = signed("ann")
    page = ann.get(BASE)
    fields = {"word": field(page, "word"), "answer": "benign", "note": "the window sill"}
    ann.post(f"{BASE}/cases/{case_of(page)}/first", data={**fields, "confidence": "0.7"})
    page = ann.get(BASE).text
    assert "The AI says" in page
    assert "the window sill</textarea>" in page
    assert re.search(r'value="0.7" checked', page)


def test_an_answer_that_was_taken_back_is_named_in_words(console, signed):
    _, desk = console
    fill(desk, 2, arms=(Arm.NONE,))
    ann = signed("ann")
    page = ann.get(BASE)
    word = field(page, "word")
    assert "your answer before" not in page.text
    ann.post(f"{BASE}/cases/{case_of(page)}/answer", data={"word": word, "answer": "benign"})
    ann.post(f"{BASE}/undo", data={"word": word})
    button = re.search(r'<button[^>]*class="before"[^>]*>(.*?)</button>', ann.get(BASE).text, re.S)
    assert re.sub("<[^>]*>", "", button[1]).split() == ["benign", "(your", "answer", "before)2"]


def test_the_way_to_conflicts_is_shown_to_whoever_settles_them(console, signed):
    _, desk = console
    fill(desk, 2)
    ann = signed("ann")
    for path in ("", "/cases", "/agreement"):
        assert f'href="{BASE}/conflicts"' not in ann.get(BASE + path).text, path
        assert f'href="{BASE}/conflicts"' in signed("chief").get(BASE + path).text, path
    desk.set_skills("ann", ["adjudicate"])
    for path in ("", "/cases", "/agreement", "/conflicts"):
        assert f'href="{BASE}/conflicts"' in ann.get(BASE + path).text, path


def test_checks_stand_among_the_cases_of_a_rater_s_list(console, signed):
    _, desk = console
    fill(desk, 2, checks=0.1)
    desk.add("cakes", [make_case(50, gold="benign")])
    check = desk.listed("cakes", limit=1, room=1).cases[0].id
    rows = re.compile(r"<tr><td class=\"name\">.*?</tr>", re.S)
    ann = signed("ann")

    def listed(path="/cases"):
        found = rows.findall(ann.get(BASE + path).text)
        words = [re.sub("<[^>]*>|party number", " ", row).split() for row in found]
        return {int(re.search(r"/cases/(\d+)", row)[1]): said[-5:]
                for row, said in zip(found, words, strict=True)}  # fmt: skip

    assert len(listed()) == 3
    assert set(map(tuple, listed().values())) == {("open", "–", "0", "of", "1")}
    desk.open("cakes", "ann", check)
    desk.submit("cakes", "ann", check, "harmful")
    case = desk.next("cakes", "ann").stored.id
    desk.submit("cakes", "ann", case, "harmful")
    found = listed()
    assert found[check] == found[case] == ["done", "harmful", "1", "of", "1"]
    assert set(listed("/cases?state=done")) == {check, case}
    assert len(signed("chief").get(f"{BASE}/cases").text.split("data-row")) == 4


def agreement_of(client, word):
    until = time.monotonic() + 120
    while word not in (page := client.get(f"{BASE}/agreement").text):
        assert time.monotonic() < until
        time.sleep(0.05)
    return page


def test_reviewers_see_nothing_of_checks_and_the_ai(console, signed):
    _, desk = console
    fill(desk, 2, raters=2, arms=(Arm.NONE,))
    disagree(desk)  # in conflict: none is settled
    page = agreement_of(signed("ann"), "No case is settled yet")
    for secret in ("Krippendorff", "On checks", "With the AI", "Skene"):
        assert secret not in page
    page = agreement_of(signed("chief"), "Krippendorff")
    assert "On checks" in page
    assert "With the AI" in page


def test_whatever_stops_agreement_is_told(console, signed, monkeypatch):
    _, desk = console
    fill(desk, 1)

    def fail(*_):
        raise StoreError("the table went away")

    monkeypatch.setattr(review_lists, "queue_agreement", fail)
    assert "went away" in agreement_of(signed("ann"), "the table went away")


def test_audits_have_an_hour_s_number_of_their_own(upstream, tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTODES_STORE_KEY", new_vault_key())
    url = f"sqlite:///{tmp_path / 'feed.db'}"
    with feeding(upstream, url, audit=1.0, per_hour=2) as (running, desk):
        for n in range(4):
            running.post("/v1/moderations", {"input": f"I want {MARKER} number {n}"})
        for n in range(4):
            running.post("/v1/moderations", {"input": f"Bread number {n}"})
        running.wait_for(lambda: "watch" in desk.queues() and desk.progress("watch").all == 4)
        time.sleep(0.3)
        found = [each.origin for each in desk.listed("watch", limit=9, room=9).cases]
        assert sorted(found) == ["audit", "audit", "uncertain", "uncertain"]


def test_a_case_that_no_key_opens_keeps_nobody_from_the_next(console, signed):
    _, desk = console
    fill(desk, 1, arms=(Arm.NONE,))
    with desk.writing() as connection:
        text = "UPDATE review_cases SET sealed = 1, content = 'gAAAAA', title = '', rank = -1"
        connection.exec_driver_sql(text)
    desk.add("cakes", [make_case(7)])
    page = signed("ann").get(BASE)
    assert page.status_code == 200
    assert "party number 7" in page.text
