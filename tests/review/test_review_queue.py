"""A queue: claimed once, judged once, settled, undone; nothing lost when time runs out."""

import json
import threading

import pytest
from review_doubles import case, judge, make_case

from custodes import store
from custodes.errors import ConfigError, DataError
from custodes.review.cases import Document, Opinion
from custodes.review.config import Choice, QueueConfig
from custodes.review.queue import LAST
from custodes.review.sampling import rank_cases
from custodes.review.settling import verdict_of
from custodes.types import Message


def answers(desk, id_):
    with desk.reading() as connection:
        return [each.answer for each in store.judgments_of(connection, id_)]


def test_every_case_is_judged_by_as_many_people_as_asked_and_by_none_twice(filled):
    desk = filled(5, raters=2)
    seen = {rater: [] for rater in "abc"}
    while True:
        before = sum(map(len, seen.values()))
        for rater, ids in seen.items():
            if desk.next("cakes", rater) is not None:
                ids.append(judge(desk, rater))
        if sum(map(len, seen.values())) == before:
            break
    assert sum(map(len, seen.values())) == 10
    assert all(len(set(ids)) == len(ids) for ids in seen.values())
    progress = desk.progress("cakes")
    assert (progress.done, progress.open, progress.conflict) == (5, 0, 0)


def test_a_claim_is_its_rater_s_until_it_runs_out(filled, clock):
    desk = filled(1, claim_seconds=60)
    claim = desk.next("cakes", "ann")
    assert desk.next("cakes", "ann").stored.id == claim.stored.id
    assert desk.next("cakes", "bob") is None
    clock.at += 59
    desk.draft("cakes", "ann", claim.stored.id, {"note": "hm"})  # and the time begins anew
    clock.at += 59
    assert desk.next("cakes", "bob") is None
    clock.at += 2
    assert desk.next("cakes", "bob").stored.id == claim.stored.id
    desk.submit("cakes", "bob", claim.stored.id, "benign")
    with pytest.raises(DataError, match="time with this case ran out"):
        desk.submit("cakes", "ann", claim.stored.id, "harmful")
    assert answers(desk, claim.stored.id) == ["benign"]


def test_a_late_answer_counts_where_nobody_took_the_place(filled, clock):
    desk = filled(2, claim_seconds=60)
    first = desk.next("cakes", "ann").stored.id
    clock.at += 61
    second = desk.next("cakes", "bob").stored.id  # sweeps, and takes ann's
    assert second == first
    desk.skip("cakes", "bob", first)
    assert desk.submit("cakes", "ann", first, "harmful")
    assert case(desk, first).answer == "harmful"


def test_drafts_stay_with_the_claim_and_beyond_it(filled, clock):
    desk = filled(1, claim_seconds=60)
    id_ = desk.next("cakes", "ann").stored.id
    desk.draft("cakes", "ann", id_, {"note": "perhaps"})
    assert desk.next("cakes", "ann").judgment.draft == {"note": "perhaps"}
    clock.at += 61
    assert desk.next("cakes", "ann").judgment.draft == {"note": "perhaps"}


def test_a_second_click_changes_nothing(filled):
    desk = filled(1)
    id_ = judge(desk, "ann", "harmful")
    assert desk.submit("cakes", "ann", id_, "benign") is False
    assert answers(desk, id_) == ["harmful"]


def test_undo_gives_the_case_back_first_with_its_answer_as_a_draft(filled, clock):
    desk = filled(3)
    first = judge(desk, "ann", "harmful")
    ahead = desk.next("cakes", "ann").stored.id
    assert case(desk, first).state == "done"
    assert desk.undo("cakes", "ann") == first
    again = desk.next("cakes", "ann")
    assert again.stored.id == first != ahead
    assert again.judgment.draft["answer"] == "harmful"
    assert case(desk, first).state == "open"
    assert desk.next("cakes", "bob").stored.id not in (first, ahead)
    clock.at += 5
    desk.submit("cakes", "ann", first, "benign")
    assert case(desk, first).answer == "benign"
    with desk.reading() as connection:
        assert store.judgments_of(connection, first)[0].changes == 1
        done = [what for _, _, what, _ in store.actions_of(connection, first)]
    assert done == ["claimed", "gave", "undid", "changed"]


def test_the_last_ten_can_be_changed_and_no_other(filled):
    desk = filled(LAST + 2)
    ids = []
    for _ in range(LAST + 1):
        ids.append(judge(desk, "ann"))
    assert desk.undo("cakes", "ann", ids[1]) == ids[1]
    desk.submit("cakes", "ann", ids[1], "harmful")
    with pytest.raises(DataError, match="not among your last 10"):
        desk.undo("cakes", "ann", ids[0])
    assert desk.undo("cakes", "nobody") is None


def test_conflicts_alone_are_ruled_on_and_then_stand(filled):
    desk = filled(2, raters=2)
    agreed = judge(desk, "ann", "benign")
    split = judge(desk, "ann", "benign")
    assert judge(desk, "bob", "benign") == agreed
    assert judge(desk, "bob", "harmful") == split
    assert case(desk, agreed).settled_by == "agreement"
    assert desk.progress("cakes").conflict == 1
    claim, said = desk.next_conflict("cakes", "carol")
    assert claim.stored.id == split
    assert [each.answer for each in said] == ["benign", "harmful"]
    assert desk.next_conflict("cakes", "dave") is None  # carol is at it
    assert desk.rule("cakes", "carol", split, "harmful", note="clear")
    assert desk.rule("cakes", "carol", split, "benign") is False
    assert (case(desk, split).answer, case(desk, split).settled_by) == ("harmful", "adjudication")
    with pytest.raises(DataError, match="others disagree"):
        desk.undo("cakes", "bob", split)
    with pytest.raises(DataError, match="not yours to rule on"):
        desk.undo("cakes", "ann", agreed)
        judge(desk, "ann", "harmful")
        desk.rule("cakes", "dave", agreed, "benign")


def test_a_ruling_that_is_left_goes_to_others(filled, clock):
    desk = filled(1, raters=2, claim_seconds=30)
    judge(desk, "ann", "benign"), judge(desk, "bob", "harmful")
    assert desk.next_conflict("cakes", "carol")
    clock.at += 31
    assert desk.next_conflict("cakes", "dave")


@pytest.mark.parametrize(
    ("given", "settle", "verdict"),
    [
        (["a"], "unanimous", ("open", None, None)),
        (["a", "a", "a"], "unanimous", ("done", "a", "agreement")),
        (["a", "a", "b"], "unanimous", ("conflict", None, None)),
        (["a", "a", "b"], "majority", ("done", "a", "majority")),
        (["a", "b", "c"], "majority", ("conflict", None, None)),
        (["a", "a", "b", "c"], "majority", ("conflict", None, None)),  # no more than half
    ],
)
def test_when_a_case_is_settled(given, settle, verdict):
    assert verdict_of(given, needed=3, settle=settle) == verdict


def test_skills_decide_who_gets_what(filled):
    cases = [make_case(0, skill="german"), make_case(1), make_case(2, skill="german")]
    desk = filled(0, cases=cases)
    desk.set_skills("ann", ["german", "french"])
    assert desk.skills("ann") == ("french", "german")
    assert desk.next("cakes", "bob").case.ref == "case-1"
    assert desk.next("cakes", "ann").case.ref == "case-0"
    assert desk.open("cakes", "bob", case_id(desk, "case-2")) is None


def case_id(desk, ref):
    with desk.reading() as connection:
        found = store.list_cases(
            connection, "cakes", limit=50, room=50, matching={"text": ref, "ref": ref}
        ).cases
    return next(each.id for each in found if each.ref == ref)


def test_arms_are_balanced_within_raters_and_stay_with_the_case(filled, clock):
    desk = filled(12, raters=2, arms=("none", "evidence", "judgment"), claim_seconds=60)
    for rater in ("ann", "bob"):
        arms = []
        for _ in range(12):
            claim = desk.next("cakes", rater)
            clock.at += 61  # the claim runs out; the case comes back in the same arm
            assert desk.open("cakes", rater, claim.stored.id).arm is claim.arm
            arms.append(claim.arm)
            desk.submit("cakes", rater, claim.stored.id, "benign")
        assert {arm: arms.count(arm) for arm in arms} == {"none": 4, "evidence": 4, "judgment": 4}
        assert all(len(set(arms[n : n + 3])) == 3 for n in range(0, 12, 3))


def test_a_blind_queue_hides_help_until_a_first_answer(filled):
    desk = filled(1, arms=("judgment",), blind=True)
    claim = desk.next("cakes", "ann")
    assert not claim.revealed
    with pytest.raises(DataError, match="first answer"):
        desk.submit("cakes", "ann", claim.stored.id, "benign")
    claim = desk.first("cakes", "ann", claim.stored.id, "harmful", confidence=0.7)
    assert claim.revealed
    again = desk.first("cakes", "ann", claim.stored.id, "benign")
    assert again.judgment.first_answer == "harmful"  # the first stays the first
    desk.submit("cakes", "ann", claim.stored.id, "benign")
    assert case(desk, claim.stored.id).answer == "benign"


def test_time_counts_from_when_the_case_was_shown(filled, clock):
    desk = filled(1)
    claim = desk.next("cakes", "ann")
    clock.at += 100
    desk.show(claim)
    clock.at += 7
    desk.submit("cakes", "ann", claim.stored.id, "benign")
    (last,) = desk.last("cakes", "ann")
    assert last.judgment.seconds == pytest.approx(7)


def test_what_was_put_in_before_is_not_put_in_again(filled):
    desk = filled(3)
    assert desk.add("cakes", [make_case(2), make_case(3)]) == 1
    assert desk.add("cakes", []) == 0
    assert desk.progress("cakes").all == 4


def test_wrong_input_is_refused_with_what_was_expected(filled, desk):
    with pytest.raises(DataError, match="expected one that"):
        desk.next("pies", "ann")
    desk = filled(1)
    id_ = desk.next("cakes", "ann").stored.id
    with pytest.raises(DataError, match="expected one of harmful, benign, unsure"):
        desk.submit("cakes", "ann", id_, "tasty")
    with pytest.raises(DataError, match="no case 999"):
        desk.submit("cakes", "ann", 999, "benign")
    with pytest.raises(DataError, match="not yours"):
        desk.submit("cakes", "bob", id_, "benign")
    with pytest.raises(DataError, match="none of the queue's"):
        desk.add("cakes", [make_case(7, gold="tasty")])
    with pytest.raises(ConfigError, match="letters, digits"):
        desk.put("no spaces", QueueConfig())
    desk.put("pies", QueueConfig())
    with pytest.raises(DataError, match="not in the queue pies"):
        desk.open("pies", "ann", id_)
    assert desk.queues() == ["cakes", "pies"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"choices": [{"name": "yes", "key": "1"}]}, "at least two"),
        ({"choices": [{"name": "y", "key": "1"}, {"name": "n", "key": "1"}]}, "same name or key"),
        ({"choices": [{"name": "y", "key": "u"}, {"name": "n", "key": "2"}]}, "needs the key u"),
        ({"choices": [{"name": "y", "key": "i"}, {"name": "n", "key": "2"}]}, "needs the key i"),
        ({"choices": [{"name": "y", "key": " "}, {"name": "n", "key": "2"}]}, "have the key ' '"),
        ({"choices": [{"name": "y", "key": "\t"}, {"name": "n", "key": "2"}]}, "have the key"),
        ({"arms": ["none", "none"]}, "each once"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ConfigError, match=message):
        QueueConfig.parse(settings)


def test_a_queue_of_an_earlier_version_stays_in_use_whatever_its_keys(filled, engine):
    desk = filled(1)
    choices = [
        {"name": "yes", "key": "i"},
        {"name": "no", "key": " "},
        {"name": "what", "key": "1"},
    ]
    with store.writing(engine) as connection:
        store.put_queue(connection, "cakes", json.dumps({"choices": choices}), now=0)
    assert [choice.key for choice in desk.config("cakes").choices] == ["2", "3", "1"]
    assert judge(desk, "ann", "yes")


def test_a_skipped_case_comes_last(filled):
    desk = filled(3)
    first = desk.next("cakes", "ann").stored.id
    desk.skip("cakes", "ann", first)
    order = [judge(desk, "ann") for _ in range(3)]
    assert order[-1] == first


def test_a_page_of_cases_goes_back_through_all(filled):
    desk = filled(25)
    with desk.reading() as connection:
        seen, before = [], None
        while True:
            page = store.list_cases(connection, "cakes", limit=10, room=8, before=before)
            seen += [each.id for each in page.cases]
            if page.older is None:
                break
            before = page.older
        assert seen == sorted(seen, reverse=True)
        assert len(seen) == 25
        found = store.list_cases(
            connection, "cakes", limit=5, room=50, matching={"text": "NUMBER 7."}
        )
        assert [each.ref for each in found.cases] == ["case-7"]
        assert (
            store.list_cases(connection, "cakes", limit=5, room=50, matching={"text": "100%"}).cases
            == []
        )
        assert (
            store.list_cases(
                connection, "cakes", limit=5, room=50, matching={"state": "done"}
            ).cases
            == []
        )


def test_a_search_finds_what_is_judged_and_nothing_that_an_ai_says(filled):
    view = Opinion(source="guard", answer="harmful", confidence=0.93, reasoning="It is larceny.")
    said = (Message("user", 'She said "take\nit" of C:\\cake'), Message("assistant", "Ärger"))
    cases = [
        make_case(n, messages=said, opinions=(view,), meta={"truth": "benign"}, slice="kitchen",
                  question="Is it theft?", documents=(Document("Law", "Cakes are 50% owned."),))
        for n in range(7)
    ]  # fmt: skip
    desk = filled(0, cases=[*cases, make_case(8, opinions=()), make_case(9)])

    def found(text, **which):
        page = desk.listed("cakes", limit=2, room=50, matching={"text": text, **which})
        while page.older is not None:
            more = desk.listed("cakes", limit=2, room=50, before=page.older,
                               matching={"text": text, **which})  # fmt: skip
            page = store.Listed(page.cases + more.cases, more.older)
        return len(page.cases)

    for text in ('"TAKE', '"take\nit"', "c:\\", "Ärger", "theft?", "law", "50%", "t"):
        assert found(text) >= 7, text
    for text in ("larceny", "0.93", "confidence", "truth", "guard", "kitchen", "case-3", "content"):
        assert found(text) == 0, text
    assert found("case-3", ref="case-3") == 1


def test_a_search_knows_no_upper_and_lower_case_in_any_script(filled):
    said = (Message("user", "ÜBER den Kuchen: пирог, Ö"),)
    desk = filled(0, cases=[make_case(1, messages=said, question="ÉTÉ?"), make_case(2)])
    for text in ("über", "Über", "ÜBER", "ПИРОГ", "ö", "kuchen: п", "été?"):
        found = desk.listed("cakes", limit=9, room=9, matching={"text": text})
        assert [each.ref for each in found.cases] == ["case-1"], text
    for text in ("ähre", "ö!", "übel"):
        assert not desk.listed("cakes", limit=9, room=9, matching={"text": text}).cases, text


def test_many_raters_at_once_judge_everything_once(filled, clock, database):
    desk = filled(40, raters=2)
    failures = []

    def work(rater):
        try:
            while (claim := desk.next("cakes", rater)) is not None:
                desk.next("cakes", rater, after=claim.stored.id)
                assert desk.submit("cakes", rater, claim.stored.id, "benign")
        except Exception as error:  # noqa: BLE001 - the main thread tells it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"rater-{n}",)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert desk.progress("cakes").done == 40
    with desk.reading() as connection:
        everything = store.rated(connection, "cakes", limit=1000)
    assert len({(each.case.id, each.judgment.rater) for each in everything}) == 80


def test_sampling_orders_by_what_it_is_named_after():
    cases = [make_case(0, confidence=0.9), make_case(1, confidence=0.55), make_case(2)]
    assert rank_cases(cases, "uncertain", seed=0) == [0.9, 0.55, 0.5]
    split = make_case(3, confidence=0.9)
    other = make_case(9, answer="harmful", confidence=0.9).opinions
    split = make_case(3, opinions=(*split.opinions, *other))
    ranks = rank_cases([*cases, split], "disagreement", seed=0)
    assert min(ranks) == ranks[3]
    mixed = rank_cases([make_case(n) for n in range(900)], "random", seed=1)
    assert [sum(third <= 3 * rank < third + 1 for rank in mixed) for third in range(3)] == (
        pytest.approx([300] * 3, abs=60)
    )
    assert mixed != sorted(mixed)
    assert mixed != rank_cases([make_case(n) for n in range(900)], "random", seed=2)
    # Whether they come together or one at a time.
    for strategy in ("random", "diverse"):
        alone = [rank_cases([make_case(n)], strategy, seed=1)[0] for n in range(900)]
        assert alone == mixed
    alike = [make_case(n) for n in range(6)]
    said = (Message("user", "Wie wird morgen das Wetter in Hamburg?"),)
    strange = make_case(8, messages=said)
    ranks = rank_cases([*alike, strange], "diverse", seed=0)
    assert sorted(ranks)[:2].count(ranks[-1]) == 1  # first or second, among all that are alike
    assert rank_cases([], "diverse", seed=0) == []
    with pytest.raises(ConfigError, match="expected uncertain"):
        rank_cases(cases, "best", seed=0)


def test_choices_are_found_by_name():
    config = QueueConfig(choices=(Choice(name="yes", key="1"), Choice(name="no", key="2")))
    assert config.choice("yes").key == "1"
    assert config.choice("maybe") is None
