"""Review over HTTP: forms without a script, who may do what, what a page may not give away."""

import asyncio
import json
import re
import time

import httpx2
import pytest
from review_console import KEYS, TOKENS, fill, make_case, review_gateway
from server_doubles import MARKER

from custodes import store
from custodes.errors import ConfigError
from custodes.review.arms import Arm
from custodes.review.config import QueueConfig
from custodes.server.config import GatewayConfig
from custodes.server.routes import review
from custodes.server.scripted import Script
from custodes.store import new_vault_key


@pytest.fixture
def console(upstream, tmp_path):
    with review_gateway(upstream, f"sqlite:///{tmp_path / 'review.db'}") as found:
        yield found


@pytest.fixture
def signed(console):
    """Clients that are signed in: `signed("ann")`."""
    running, _ = console
    clients = []

    def sign(name):
        client = httpx2.Client(base_url=running.url, timeout=30, trust_env=False)
        clients.append(client)
        running.app.state.service._limiter._full_at.clear()
        client.post("/console/sign-in", data={"key": TOKENS[name]})
        return client

    yield sign
    for client in clients:
        client.close()


def field(page, name):
    return re.search(rf'name="{name}" value="([^"]*)"', page.text)[1]


def case_of(page):
    return re.search(r'data-case="(\d*)"', page.text)[1]


def test_a_whole_round_without_a_script(console, signed):
    _, desk = console
    fill(desk, 3, raters=2, arms=(Arm.NONE,))
    ann, bob, chief = signed("ann"), signed("bob"), signed("chief")
    assert "cakes" in ann.get("/console/review").text
    for client, answer in ((ann, "benign"), (bob, "harmful")):
        page = client.get("/console/review/cakes")
        word, case = field(page, "word"), case_of(page)
        fields = {"word": word, "answer": answer, "confidence": "0.8", "note": "because"}
        said = client.post(f"/console/review/cakes/cases/{case}/answer", data=fields)
        assert said.status_code == 303
        assert "because" not in client.get("/console/review/cakes").text
    assert desk.progress("cakes").conflict == 1
    page = chief.get("/console/review/cakes/conflicts")
    assert page.text.count("<strong>benign</strong>") == 1
    assert "because" in page.text
    assert "ann" not in page.text
    word, case = field(page, "word"), case_of(page)
    chief.post(f"/console/review/cakes/conflicts/{case}", data={"word": word, "answer": "harmful"})
    assert desk.progress("cakes").done == 1
    story = chief.get(f"/console/review/cakes/story/{case}").text
    assert "adjudication" in story
    assert "ruled" in story


def test_undo_and_change_and_skip(console, signed):
    _, desk = console
    fill(desk, 4, arms=(Arm.NONE,))
    ann = signed("ann")
    page = ann.get("/console/review/cakes")
    word, first = field(page, "word"), case_of(page)
    base = "/console/review/cakes"
    ann.post(f"{base}/cases/{first}/answer", data={"word": word, "answer": "benign"})
    assert case_of(ann.get(base)) != first
    ann.post(f"{base}/undo", data={"word": word})
    page = ann.get(base)
    assert case_of(page) == first
    assert 'class="before"' in page.text
    ann.post(f"{base}/cases/{first}/answer", data={"word": word, "answer": "harmful"})
    page = ann.get(f"{base}/cases/{first}")
    assert "You said <strong>harmful</strong>" in page.text
    ann.post(f"{base}/cases/{first}/change", data={"word": word})
    assert case_of(ann.get(base)) == first
    ann.post(f"{base}/cases/{first}/skip", data={"word": word})
    assert case_of(ann.get(base)) != first


def test_drafts_stay(console, signed):
    _, desk = console
    fill(desk, 2)
    ann = signed("ann")
    page = ann.get("/console/review/cakes")
    fields = {"word": field(page, "word"), "note": "half a tho<b>ught", "confidence": "0.9"}
    kept = ann.post(f"/console/review/cakes/cases/{case_of(page)}/draft", data=fields)
    assert kept.status_code == 204
    page = ann.get("/console/review/cakes")
    assert "half a tho&lt;b&gt;ught" in page.text
    assert re.search(r'value="0.9" checked', page.text)


def test_a_note_in_any_script_is_kept_whole(console, signed):
    _, desk = console
    fill(desk, 2)
    ann = signed("ann")
    page = ann.get("/console/review/cakes")
    address = f"/console/review/cakes/cases/{case_of(page)}"
    note = "蛋糕" * 2000  # 4,000 letters, 36,000 bytes of a form
    fields = {"word": field(page, "word"), "note": note}
    assert ann.post(f"{address}/draft", data=fields).status_code == 204
    assert note in ann.get("/console/review/cakes").text
    assert ann.post(f"{address}/answer", data={**fields, "answer": "benign"}).status_code == 303
    assert desk.last("cakes", "ann")[0].judgment.note == note
    refused = ann.post(f"{address}/draft", data={**fields, "note": "x" * 70_000})
    assert refused.status_code == 413
    assert "expected 65,536 at most" in refused.text


def test_cards_are_made_on_no_event_loop(console, signed, monkeypatch):
    _, desk = console
    fill(desk, 2, raters=2, arms=(Arm.NONE,))
    desk.set_skills("ann", ["adjudicate"])
    looping = []

    def seen(text, *rest):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            looping.append(False)
        else:
            looping.append(True)
        return pieces(text, *rest)

    pieces = review.pieces
    monkeypatch.setattr(review, "pieces", seen)
    ann = signed("ann")
    case = case_of(ann.get("/console/review/cakes"))
    for path in (f"cases/{case}?q=e", f"ahead?after={case}"):
        assert ann.get(f"/console/review/cakes/{path}").status_code == 200
    assert desk.next("cakes", "bob").stored.id == int(case)
    for rater, answer in (("ann", "benign"), ("bob", "harmful")):
        desk.submit("cakes", rater, int(case), answer)
    assert "raters disagree" in ann.get("/console/review/cakes/conflicts").text
    assert looping
    assert not any(looping)


def test_a_page_holds_nothing_that_its_arm_does_not_show(console, signed):
    _, desk = console
    hidden = {Arm.NONE: ("second sentence decides", "% sure", 'class="quote"'),
              Arm.EVIDENCE: ("second sentence decides", "% sure", "The AI says"),
              Arm.REASONING: ("% sure", "The AI says"),
              Arm.JUDGMENT: ("% sure",)}  # fmt: skip
    ann = signed("ann")
    for arm, words in hidden.items():
        fill(desk, 3, queue=f"q-{arm}", arms=(arm,))
        page = ann.get(f"/console/review/q-{arm}").text
        ahead = ann.get(
            f"/console/review/q-{arm}/ahead?after={case_of(ann.get(f'/console/review/q-{arm}'))}"
        )
        for word in words:
            assert word not in page, arm
            assert word not in ahead.text, arm
    desk.put("fed", QueueConfig())
    desk.add("fed", [make_case(1, slice="larceny", meta={"rule": "larceny"})])
    assert "larceny" not in ann.get("/console/review/fed").text
    fill(desk, 1, queue="all", arms=(Arm.CONFIDENCE,))
    page = ann.get("/console/review/all").text
    assert "The AI says <strong>harmful</strong>, 55 % sure" in page
    assert "second sentence decides" in page


def test_a_blind_queue_reveals_after_a_first_answer_and_logs_it(console, signed):
    _, desk = console
    fill(desk, 1, arms=(Arm.JUDGMENT,), blind=True)
    ann, chief = signed("ann"), signed("chief")
    page = ann.get("/console/review/cakes")
    assert "The AI says" not in page.text
    word, case = field(page, "word"), case_of(page)
    base = f"/console/review/cakes/cases/{case}"
    refused = ann.post(f"{base}/answer", data={"word": word, "answer": "benign"})
    assert refused.status_code == 409
    assert "first answer" in refused.text
    ann.post(f"{base}/first", data={"word": word, "answer": "benign"})
    page = ann.get("/console/review/cakes").text
    assert "The AI says <strong>harmful</strong>" in page
    assert "You first said <strong>benign</strong>" in page
    ann.post(f"{base}/answer", data={"word": word, "answer": "harmful"})
    story = chief.get(f"/console/review/cakes/story/{case}").text
    assert "revealed" in story
    assert "first benign" in story


def test_what_a_reviewer_may_not_do(console, signed):
    _, desk = console
    fill(desk, 2)
    ann = signed("ann")
    page = ann.get("/console/review/cakes")
    word, case = field(page, "word"), case_of(page)
    base = "/console/review/cakes"
    assert ann.get(f"{base}/conflicts").status_code == 403
    assert ann.get(f"{base}/story/{case}").status_code == 403
    assert signed("bob").get(f"{base}/cases/{case}").status_code == 403
    wrong = {"word": "other", "answer": "benign"}
    assert ann.post(f"{base}/cases/{case}/answer", data=wrong).status_code == 403
    fields = {"word": word, "answer": "tasty"}
    assert ann.post(f"{base}/cases/{case}/answer", data=fields).status_code == 409
    assert ann.post(f"{base}/cases/{case}/eat", data={"word": word}).status_code == 409
    for path in ("/console/review/pies", f"{base}/cases/999", f"{base}/cases/x",
                 "/console/review/pies/agreement", "/console/review/pies/cases"):  # fmt: skip
        assert ann.get(path).status_code == 404, path
    desk.set_skills("ann", ["adjudicate"])
    assert ann.get(f"{base}/conflicts").status_code == 200
    with httpx2.Client(base_url=console[0].url, trust_env=False) as nobody:
        assert nobody.get("/console/review").status_code == 303


def test_cases_are_listed_and_searched_with_highlights(console, signed):
    _, desk = console
    fill(desk, 40)
    ann = signed("ann")
    page = ann.get("/console/review/cakes/cases").text
    assert page.count("data-row") == 30
    older = re.search(r'href="([^"]*before=[^"]*)"', page)[1].replace("&amp;", "&")
    assert ann.get(older).text.count("data-row") == 10
    found = ann.get("/console/review/cakes/cases?q=party+number+7").text
    assert found.count("data-row") == 1
    found = ann.get("/console/review/cakes/cases?q=REPLY+7").text
    assert '<mark class="hit">reply 7</mark>' in found
    assert ann.get("/console/review/cakes/cases?state=done").text.count("data-row") == 0
    for secret in ("second+sentence+decides", "confidence", "cake-7"):
        assert ann.get(f"/console/review/cakes/cases?q={secret}").text.count("data-row") == 0
    chief = signed("chief").get("/console/review/cakes/cases?q=cake-7").text
    assert chief.count("data-row") == 1
    case = case_of(ann.get("/console/review/cakes"))
    page = ann.get(f"/console/review/cakes/cases/{case}?q=butter").text
    assert '<mark class="hit">butter</mark>' in page


def test_agreement_is_computed_aside_and_then_shown(console, signed):
    _, desk = console
    fill(desk, 8, raters=2, arms=(Arm.NONE,))
    ann = signed("ann")
    base = "/console/review/cakes/agreement"
    assert "Being computed" in ann.get(base).text
    until = time.monotonic() + 120
    while "two people" not in (page := ann.get(base).text):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert "no item was judged by two people" in page
    for rater in ("ann", "bob"):
        while (claim := desk.next("cakes", rater)) is not None:
            desk.submit(
                "cakes", rater, claim.stored.id, "benign" if claim.stored.id % 2 else "harmful"
            )
    console[0].app.state.service.reviews.agreements.clear()
    while "Krippendorff" not in (page := ann.get(base).text):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert re.search(r"Equal answers.*?1\.00", page, re.S)


def test_raters_do_not_see_what_others_said_of_what_they_may_yet_judge(console, signed):
    _, desk = console
    fill(desk, 2, raters=3, arms=(Arm.NONE,), checks=0.5, settle="majority")
    desk.add("cakes", [make_case(50, gold="benign", question="A check?")])
    answers = {"ann": ("benign", "benign"), "bob": ("harmful", "harmful")}
    answers |= {"eve": ("harmful", None)}  # one is done, one is not
    with desk.reading() as connection:
        ids = [each.id for each in store.list_cases(connection, "cakes", limit=9, room=9).cases]
    for rater, given in answers.items():
        for id_, answer in zip(sorted(ids), (*given, given[0]), strict=True):
            if answer is not None:
                desk.open("cakes", rater, id_)
                desk.submit("cakes", rater, id_, answer)
    base = "/console/review/cakes/agreement"
    until = time.monotonic() + 120
    ann, chief = signed("ann"), signed("chief")
    while "Krippendorff" not in (page := ann.get(base).text):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert re.findall(r'href="[^"]*/cases/(\d+)"', page) == [str(min(ids))]
    assert "A check?" not in page
    page = chief.get(base).text
    assert set(re.findall(r'href="[^"]*/story/(\d+)"', page)) == set(map(str, ids))


def test_without_a_database_review_says_so(running):
    page = running.http.get(running.url + "/console/review")
    assert page.status_code == 404
    assert "needs a database" in page.text


def feeding(upstream, url, **feed):
    policy = {"queue": "watch", "low": 0.5, "high": 1.0, **feed}
    return review_gateway(upstream, url, review=policy, keep_text=True, no_auth=True, keys=[])


def test_uncertain_verdicts_go_to_people_by_policy(upstream, tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTODES_STORE_KEY", new_vault_key())
    with feeding(upstream, f"sqlite:///{tmp_path / 'feed.db'}") as (running, desk):
        body = {"model": "m", "messages": [{"role": "user", "content": f"I want {MARKER} now"}]}
        running.post("/v1/chat/completions", body)
        body["messages"][0]["content"] = "I want bread"
        running.post("/v1/chat/completions", body)
        running.wait_for(lambda: "watch" in desk.queues() and desk.progress("watch").all > 0)
        claim = desk.next("watch", "ann")
        assert claim.case.messages[0].content == f"I want {MARKER} now"
        assert claim.stored.origin == "uncertain"
        assert claim.case.view.answer == "harmful"
        assert claim.case.meta["rule"] == "cake"
        assert claim.case.slice == "input"  # a rule there would tell that the guard acted
        assert [o.source for o in claim.case.opinions] == ["guard", "stage scripted"]
        assert desk.next("watch", "bob") is None  # the clean ones were not asked about


def test_a_share_of_the_rest_is_audited_up_to_so_many_an_hour(upstream, tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTODES_STORE_KEY", new_vault_key())
    url = f"sqlite:///{tmp_path / 'feed.db'}"
    with feeding(upstream, url, audit=1.0, per_hour=3) as (running, desk):
        for n in range(6):
            running.post("/v1/moderations", {"input": "Some bread"})
            running.post("/v1/moderations", {"input": f"Bread number {n}"})
        running.wait_for(lambda: "watch" in desk.queues() and desk.progress("watch").all == 3)
        time.sleep(0.3)
        assert desk.progress("watch").all == 3
        assert desk.next("watch", "ann").stored.origin == "audit"


def words_of(case):
    return [message.content for message in case.messages]


def test_a_case_ends_with_the_turn_that_was_judged_and_comes_once(upstream, tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTODES_STORE_KEY", new_vault_key())
    url = f"sqlite:///{tmp_path / 'feed.db'}"
    with feeding(upstream, url, audit=0.0, per_hour=2) as (running, desk):
        turns = [{"role": "user", "content": f"I want {MARKER} now"}]
        for n in range(4):  # a client that sends its whole history again
            running.post("/v1/chat/completions", {"model": "m", "messages": turns})
            turns = [*turns, {"role": "assistant", "content": "No."},
                     {"role": "user", "content": f"And number {n}?"}]  # fmt: skip
        running.wait_for(lambda: "watch" in desk.queues() and desk.progress("watch").all == 1)
        tools = [{"type": "function", "function": {"name": "f", "description": f"A {MARKER}."}}]
        body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": tools}
        running.post("/v1/chat/completions", body)
        running.wait_for(lambda: desk.progress("watch").all == 2)
        first = desk.next("watch", "ann")
        assert words_of(first.case) == [f"I want {MARKER} now"]
        desk.submit("watch", "ann", first.stored.id, "harmful")
        tool = desk.next("watch", "ann").case
        assert [message.role for message in tool.messages] == ["system"]
        for case in (first.case, tool):
            assert MARKER in case.quoted(case.evidence[0])


def test_a_reply_is_shown_under_its_own_prompt(upstream, tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTODES_STORE_KEY", new_vault_key())
    said = f"A {MARKER}!"
    prompts = ["Bread?", Script(pieces=(said,)).prompt()]  # every choice says it
    url = f"sqlite:///{tmp_path / 'feed.db'}"
    with feeding(upstream, url, audit=0.0) as (running, desk):
        running.post("/v1/completions", {"model": "m", "prompt": prompts, "n": 2})
        running.wait_for(lambda: "watch" in desk.queues() and desk.progress("watch").all == 2)
        cases = [desk.next("watch", rater).case for rater in ("ann", "bob")]
        assert sorted(map(words_of, cases)) == [[prompt, said] for prompt in prompts]
        assert all(MARKER in case.quoted(case.evidence[0]) for case in cases)


def test_a_feed_needs_texts_and_a_database():
    values = {"review": {"queue": "watch"}, "keys": KEYS}
    with pytest.raises(ConfigError, match="keep_text: true"):
        GatewayConfig.parse(values)
    with pytest.raises(ConfigError, match="keep_text: true"):
        GatewayConfig.parse({**values, "keep_text": True, "database": "none"})
    assert GatewayConfig.parse({**values, "keep_text": True}).review.high == 0.8


def test_settings_of_a_queue_survive_the_database(console):
    _, desk = console
    config = QueueConfig(raters=3, arms=(Arm.CONTRAST, Arm.NONE), blind=True)
    desk.put("q", config)
    assert desk.config("q") == config
    desk.add("q", [make_case(1)])
    assert (
        json.loads(json.dumps(desk.listed("q", limit=1, room=1).cases[0].content))["id"] == "cake-1"
    )


def test_what_cannot_be_put_on_the_desk_is_counted(upstream, tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTODES_STORE_KEY", new_vault_key())
    with feeding(upstream, f"sqlite:///{tmp_path / 'feed.db'}", queue="no spaces") as (running, _):
        body = {"model": "m", "messages": [{"role": "user", "content": f"I want {MARKER}"}]}
        assert running.post("/v1/chat/completions", body).status_code == 200
        feed = running.app.state.service.feed
        running.wait_for(lambda: feed.lost == 1)
