"""Checks: as many as asked for, not to be told from cases, and the first answer counts."""

import math
from itertools import pairwise

import pytest
from review_doubles import judge, make_case

from custodes.review.overview import agreement_of
from custodes.review.training import label_rows


def cases_and_checks(cases, checks):
    found = [make_case(n) for n in range(cases)]
    return found + [make_case(1000 + n, gold="harmful") for n in range(checks)]


def kinds(desk, rater, count):
    seen = []
    for _ in range(count):
        claim = desk.next("cakes", rater)
        seen.append(claim.stored.kind)
        desk.submit("cakes", rater, claim.stored.id, "harmful")
    return seen


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_checks_come_in_their_share_at_no_fixed_distance(filled, share):
    desk = filled(0, cases=cases_and_checks(90, 40), checks=share, raters=2)
    ann, bob = kinds(desk, "ann", 50), kinds(desk, "bob", 50)
    for seen in (ann, bob):
        assert seen.count("gold") == pytest.approx(50 * share, abs=9)
        places = [n for n, kind in enumerate(seen) if kind == "gold"]
        apart = {b - a for a, b in pairwise(places)}
        assert len(apart) > 3
    assert ann != bob


def test_checks_are_asked_where_no_case_is_left(filled):
    desk = filled(0, cases=cases_and_checks(2, 2), checks=0.1)
    assert sorted(kinds(desk, "ann", 4)) == ["case", "case", "gold", "gold"]
    assert desk.next("cakes", "ann") is None
    assert kinds(desk, "bob", 2) == ["gold", "gold"]
    assert desk.progress("cakes").checks == 2


def test_a_check_that_was_left_does_not_come_back_at_once(filled, clock):
    desk = filled(0, cases=cases_and_checks(60, 1), checks=0.5)
    left = 0
    for _ in range(40):
        clock.at += 1
        claim = desk.next("cakes", "ann")
        if claim.stored.kind == "gold":
            left += 1
            desk.skip("cakes", "ann", claim.stored.id)
            claim = desk.next("cakes", "ann")
            assert claim.stored.kind == "case"
        clock.at += 1
        desk.submit("cakes", "ann", claim.stored.id, "benign")
    assert left > 1  # it comes again later


def test_to_a_rater_a_check_looks_like_a_case(filled):
    desk = filled(0, cases=cases_and_checks(2, 1), checks=0.5, raters=2)

    def listed(rater, **which):
        matching = {"reader": rater, **which}
        found = desk.listed("cakes", limit=9, room=9, matching=matching).cases
        return {each.ref: (each.kind, each.state, each.answer, each.taken, each.gold)
                for each in found}  # fmt: skip

    fresh = ("case", "open", None, 0, None)
    assert listed("ann") == dict.fromkeys(("case-0", "case-1", "case-1000"), fresh)
    for rater in ("bob", "eve", "dan"):
        check = next(each.id for each in desk.listed("cakes", limit=9, room=9).cases if each.gold)
        desk.open("cakes", rater, check)
        desk.submit("cakes", rater, check, "benign")
    assert listed("ann")["case-1000"] == ("case", "open", None, 1, None)
    assert listed("bob")["case-1000"] == ("case", "done", "benign", 2, None)
    assert set(listed("bob", state="done")) == {"case-1000"}
    assert set(listed("bob", state="open")) == {"case-0", "case-1"}
    assert set(listed("ann", state="done")) == set()
    assert listed("bob", state="conflict") == {}
    assert len(listed("bob", state="open", text="cake")) == 2
    whole = desk.listed("cakes", limit=9, room=9, matching={"state": "open"}).cases
    assert [each.kind for each in whole if each.gold] == ["gold"]


def test_of_a_check_the_first_answer_counts(filled):
    desk = filled(0, cases=cases_and_checks(1, 1), checks=0.5)
    judge(desk, "ann", "benign"), judge(desk, "ann", "benign")
    for each in desk.last("cakes", "ann"):
        assert desk.undo("cakes", "ann", each.case.id) == each.case.id  # both alike
        desk.submit("cakes", "ann", each.case.id, "harmful")
    assert {each.judgment.answer for each in desk.last("cakes", "ann")} == {"harmful"}
    counted = {each.case.kind: each.judgment.answer for each in desk.rated("cakes", limit=9)}
    assert counted == {"gold": "benign", "case": "harmful"}
    rows = {row["ref"]: row["rating"] for row in label_rows(desk, "cakes")}
    assert rows == {"case-1000": "benign", "case-0": "harmful"}


def test_raters_are_told_of_settled_cases_alone(filled):
    desk = filled(0, cases=cases_and_checks(3, 1), checks=0.5, raters=2)
    ids = sorted(each.id for each in desk.listed("cakes", limit=9, room=9).cases)
    given = {"ann": "bbbb", "bob": "bh-h"}  # agreed, in conflict, open, a check
    for rater, answers in given.items():
        for id_, answer in zip(ids, answers, strict=True):
            if answer != "-":
                desk.open("cakes", rater, id_)
                desk.submit("cakes", rater, id_, {"b": "benign", "h": "harmful"}[answer])
    found = agreement_of(desk.rated("cakes", limit=99), ("harmful", "benign", "unsure"), at=0)
    assert {each.rater: each.ratings for each in found.raters} == {"ann": 4, "bob": 3}
    assert {each.rater: each.ratings for each in found.told.raters} == {"ann": 1, "bob": 1}
    assert (found.told.figures.items, found.figures.items, found.told.ratings) == (1, 3, 2)
    for each in found.told.raters:
        assert each.others.value == 1
        assert math.isnan(each.gold.value)
        assert math.isnan(each.ai.value)
    none = agreement_of(
        [r for r in desk.rated("cakes", limit=99) if r.case.state != "done"],
        ("harmful", "benign", "unsure"), at=0,
    )  # fmt: skip
    assert none.told.figures is None
    assert none.told.raters == []
