"""What a rater holds and has given, whatever else is done; and settings that change meanwhile."""

import pytest
from review_doubles import case, judge, make_case

from custodes.errors import ConfigError, DataError
from custodes.review import queue
from custodes.review.config import Choice, QueueConfig


def test_whatever_a_rater_does_keeps_all_that_the_rater_holds(filled, clock):
    desk = filled(6, claim_seconds=60, arms=("judgment",), blind=True)
    held = desk.next("cakes", "ann").stored.id
    ahead = desk.next("cakes", "ann", after=held).stored.id
    acts = [
        lambda: desk.next("cakes", "ann"),
        lambda: desk.next("cakes", "ann", after=held),
        lambda: desk.open("cakes", "ann", held),
        lambda: desk.shown("cakes", "ann", ahead),
        lambda: desk.first("cakes", "ann", held, "benign"),
        lambda: desk.draft("cakes", "ann", held, {"note": "hm"}),
    ]
    for act in acts:
        clock.at += 50
        act()
    clock.at += 50
    others = {desk.next("cakes", "bob").stored.id, desk.next("cakes", "eve").stored.id}
    assert not others & {held, ahead}
    clock.at += 20
    assert desk.next("cakes", "dan").stored.id == held


def test_a_first_answer_is_not_lost_in_silence(filled, clock):
    desk = filled(2, claim_seconds=60, arms=("judgment",), blind=True)
    id_ = desk.next("cakes", "ann").stored.id
    clock.at += 61
    assert desk.next("cakes", "bob").stored.id == id_
    with pytest.raises(DataError, match="open it again"):
        desk.first("cakes", "ann", id_, "harmful")
    desk.first("cakes", "bob", id_, "benign")
    desk.submit("cakes", "bob", id_, "benign")
    with pytest.raises(DataError, match="you judged it"):
        desk.first("cakes", "bob", id_, "harmful")


def test_only_who_holds_a_case_pushes_it_back(filled):
    desk = filled(3)
    id_ = desk.next("cakes", "ann").stored.id
    with pytest.raises(DataError, match="not yours"):
        desk.skip("cakes", "bob", id_)
    desk.skip("cakes", "ann", id_)
    rank = case(desk, id_).rank
    with pytest.raises(DataError, match="gave it back"):
        desk.skip("cakes", "ann", id_)
    assert case(desk, id_).rank == rank
    given = judge(desk, "ann")
    with pytest.raises(DataError, match="you judged it"):
        desk.skip("cakes", "ann", given)


def test_seconds_are_those_of_both_sittings(filled, clock):
    desk = filled(2, claim_seconds=60)

    def sit(seconds):
        claim = desk.next("cakes", "ann")
        desk.show(claim)
        clock.at += seconds
        desk.submit("cakes", "ann", claim.stored.id, "benign")

    sit(5)
    clock.at += 3600
    desk.undo("cakes", "ann")
    sit(4)
    assert desk.last("cakes", "ann")[0].judgment.seconds == pytest.approx(9)
    id_ = desk.undo("cakes", "ann")
    desk.submit("cakes", "ann", id_, "harmful")  # not shown again
    assert desk.last("cakes", "ann")[0].judgment.seconds == pytest.approx(9)
    desk.show(desk.next("cakes", "ann"))
    clock.at += 600
    desk.show(desk.next("cakes", "ann"))  # its time had run out: it begins anew
    clock.at += 3
    desk.submit("cakes", "ann", desk.next("cakes", "ann").stored.id, "benign")
    assert desk.last("cakes", "ann")[0].judgment.seconds == pytest.approx(3)


def test_what_others_are_seen_to_disagree_with_stays(filled):
    desk = filled(2, raters=2)
    split = judge(desk, "ann", "benign")
    judge(desk, "bob", "harmful")
    with pytest.raises(DataError, match="whoever settles conflicts decides"):
        desk.undo("cakes", "ann", split)
    desk.put("cakes", QueueConfig(sampling="given", raters=3, settle="majority"))
    outvoted = [judge(desk, rater, answer) for rater, answer in
                (("ann", "benign"), ("bob", "benign"), ("eve", "harmful"))][-1]  # fmt: skip
    assert case(desk, outvoted).settled_by == "majority"
    with pytest.raises(DataError, match="others disagree"):
        desk.undo("cakes", "eve", outvoted)


def test_a_ruling_stands_whoever_still_judges(filled):
    desk = filled(1, raters=3)
    id_ = judge(desk, "ann", "benign")
    judge(desk, "bob", "harmful")
    assert desk.next("cakes", "eve").stored.id == id_
    desk.put("cakes", QueueConfig(sampling="given", raters=2))  # a conflict, while eve holds it
    assert case(desk, id_).state == "conflict"
    desk.next_conflict("cakes", "chief")
    assert desk.rule("cakes", "chief", id_, "unsure")
    with pytest.raises(DataError, match="others judged it meanwhile"):
        desk.submit("cakes", "eve", id_, "harmful")
    assert desk.next("cakes", "eve") is None
    with desk.writing() as connection:  # a rating that an earlier version left in somebody's hands
        desk._decide(connection, case(desk, id_), desk.config("cakes"))
    assert (case(desk, id_).answer, case(desk, id_).settled_by) == ("unsure", "adjudication")
    assert case(desk, id_).taken == 2


def test_what_was_typed_with_a_first_answer_is_kept(filled):
    desk = filled(1, arms=("judgment",), blind=True)
    id_ = desk.next("cakes", "ann").stored.id
    claim = desk.first("cakes", "ann", id_, "benign", confidence=0.7, note="flour")
    assert claim.judgment.draft == {"confidence": 0.7, "note": "flour"}
    desk.first("cakes", "ann", id_, "harmful", note="sugar")  # the first stays the first
    assert desk.next("cakes", "ann").judgment.draft["note"] == "flour"


def test_cases_are_put_in_by_the_settings_of_that_moment(filled, monkeypatch):
    desk = filled(0, cases=[make_case(0)], raters=1)
    changed = []

    def slow(found):  # quotes take long, and meanwhile somebody changes the settings
        if not changed:
            changed.append(desk.put("cakes", QueueConfig(sampling="given", raters=3)))
        return found

    monkeypatch.setattr(queue, "with_evidence", slow)
    assert desk.add("cakes", [make_case(1)]) == 1
    needed = {each.ref: each.needed for each in desk.listed("cakes", limit=9, room=9).cases}
    assert needed == {"case-0": 3, "case-1": 3}


def test_more_or_fewer_raters_count_for_the_cases_that_are_open(filled):
    desk = filled(4, raters=3)
    judged = judge(desk, "ann"), judge(desk, "ann", "harmful")
    assert judge(desk, "bob") == judged[0]
    desk.put("cakes", QueueConfig(sampling="given", raters=2))
    assert case(desk, judged[0]).state == "done"
    assert case(desk, judged[1]).state == "open"
    assert judge(desk, "bob", "benign") == judged[1]
    assert case(desk, judged[1]).state == "conflict"
    desk.put("cakes", QueueConfig(sampling="given", raters=1))
    assert desk.next("cakes", "eve").stored.id not in judged
    third = judge(desk, "eve")
    desk.put("cakes", QueueConfig(sampling="given", raters=2))
    assert case(desk, third).state == "done"  # what is settled stays so
    fourth = judge(desk, "ann")
    assert case(desk, fourth).state == "open"
    assert desk.next("cakes", "bob").stored.id == fourth


def test_settings_that_do_not_fit_what_was_judged_are_refused(filled):
    desk = filled(2, arms=("judgment",), blind=True, checks=0.5)
    desk.add("cakes", [make_case(7, gold="unsure")])
    id_ = desk.next("cakes", "ann").stored.id
    desk.put("cakes", QueueConfig(arms=("evidence", "judgment"), blind=True, checks=0.5))
    desk.first("cakes", "ann", id_, "harmful")
    desk.submit("cakes", "ann", id_, "benign")
    with pytest.raises(ConfigError, match="arms: got none, and there are ratings in evidence"):
        desk.put("cakes", QueueConfig())
    arms = {"arms": ("evidence", "judgment"), "blind": True}
    for gone in ("harmful", "benign", "unsure"):
        choices = [choice for choice in QueueConfig().choices if choice.name != gone]
        with pytest.raises(ConfigError, match=f"{gone} is gone"):
            desk.put("cakes", QueueConfig(choices=tuple(choices), **arms))
    more = (*QueueConfig().choices, Choice(name="both", key="4"))
    desk.put("cakes", QueueConfig(choices=more, **arms))
    with pytest.raises(DataError, match="asks none"):
        desk.add("cakes", [make_case(8, gold="both")])
    assert desk.progress("cakes").checks == 1
