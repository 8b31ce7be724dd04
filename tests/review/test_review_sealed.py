"""Cases and notes at rest: encrypted where there is a key; what no key opens stops nobody."""

import logging

import pytest
from review_doubles import make_case
from sqlalchemy import text

from custodes import store
from custodes.errors import DataError
from custodes.review.config import QueueConfig
from custodes.review.notes import open_notes, seal_note
from custodes.review.queue import Desk
from custodes.review.training import label_rows, training_rows

SETTINGS = {"sampling": "given", "choices": QueueConfig().choices}


@pytest.fixture
def desks(engine, clock):
    """A desk with a key, and one with another."""
    keys = [store.Vault([store.new_vault_key()]) for _ in range(2)]
    return [Desk(engine, now=clock, cipher=key) for key in keys]


@pytest.fixture
def one_lost(desks, clock):
    """A desk that cannot read the first of four cases; and the one that can."""
    lost, desk = desks
    lost.put("cakes", QueueConfig(**SETTINGS))
    lost.add("cakes", [make_case(0)])
    clock.at += 1
    desk.add("cakes", [make_case(n) for n in (1, 2, 3)])
    return desk, lost


def test_a_case_that_no_key_opens_is_set_aside(one_lost, engine, caplog):
    desk, lost = one_lost
    with caplog.at_level(logging.WARNING):
        claims = [desk.next("cakes", rater) for rater in ("ann", "bob", "eve")]
    assert [claim.case.ref for claim in claims] == ["case-1", "case-2", "case-3"]
    assert "no key in CUSTODES_STORE_KEY opens it" in caplog.text
    assert desk.next("cakes", "dan") is None
    with store.reading(engine) as connection:
        id_ = min(each.id for each in desk.listed("cakes", limit=9, room=9).cases)
        assert [what for _, _, what, _ in store.actions_of(connection, id_)] == ["unreadable"]
    # With its key the case comes back.
    assert lost.next("cakes", "dan") is None
    lost.put("cakes", QueueConfig(**SETTINGS))
    assert lost.next("cakes", "dan").case.ref == "case-0"
    # Also one that is held when its key goes.
    assert desk.next("cakes", "dan") is None
    assert desk.progress("cakes").open == 4


def test_many_that_no_key_opens_are_set_aside_a_few_at_a_time(desks, clock):
    lost, desk = desks
    lost.put("cakes", QueueConfig(**SETTINGS, checks=0.3))
    lost.add("cakes", [make_case(n, gold="benign" if n % 3 == 0 else None) for n in range(250)])
    clock.at += 1
    desk.add("cakes", [make_case(900)])
    assert desk.next("cakes", "ann").case.ref == "case-900"


def test_a_conflict_that_no_key_opens_stops_no_other(desks):
    lost, desk = desks
    lost.put("cakes", QueueConfig(**SETTINGS, raters=2))
    for n, each in enumerate((lost, desk)):
        each.add("cakes", [make_case(n)])
        for rater, answer in (("ann", "benign"), ("bob", "harmful")):
            each.submit("cakes", rater, each.next("cakes", rater).stored.id, answer)
    assert desk.progress("cakes").conflict == 2
    assert desk.next_conflict("cakes", "chief")[0].case.ref == "case-1"
    assert lost.next_conflict("cakes", "dan")[0].case.ref == "case-0"


def test_rows_leave_out_what_no_key_opens_and_say_so(one_lost, caplog):
    desk, lost = one_lost
    for each in (lost, desk, desk, desk):
        claim = each.next("cakes", "ann")
        each.submit("cakes", "ann", claim.stored.id, "benign", note="Butter")
    with caplog.at_level(logging.WARNING):
        rows = training_rows(desk, "cakes")
    assert len(rows) == 3
    assert "1 settled cases are left out" in caplog.text
    notes = [row["note"] for row in label_rows(desk, "cakes")]
    assert notes == ["(encrypted: no key in CUSTODES_STORE_KEY opens it)", *["Butter"] * 3]


def everything(engine):
    """All that the tables of review hold, as one text."""
    tables = ("review_cases", "review_judgments", "review_actions")
    with store.reading(engine) as connection:
        return "\n".join(
            str(tuple(row))
            for t in tables
            for row in connection.execute(text(f"SELECT * FROM {t}"))
        )


def test_nothing_that_was_said_lies_in_the_clear(desks, engine):
    desk, other = desks
    desk.put("cakes", QueueConfig(**SETTINGS, raters=2, arms=("judgment",), blind=True))
    desk.add("cakes", [make_case(1), make_case(2)])
    for rater, answer in (("ann", "benign"), ("bob", "harmful")):
        id_ = desk.next("cakes", rater).stored.id
        desk.draft("cakes", rater, id_, {"confidence": 0.5, "note": "half a secret"})
        assert desk.next("cakes", rater).judgment.draft["note"] == "half a secret"
        desk.first("cakes", rater, id_, answer, note="a first secret")
        desk.submit("cakes", rater, id_, answer, note="the whole secret")
    claim, said = desk.next_conflict("cakes", "chief")
    assert [each.note for each in said] == ["the whole secret"] * 2
    desk.rule("cakes", "chief", claim.stored.id, "benign", note="a last secret")
    id_ = desk.next("cakes", "ann").stored.id
    desk.first("cakes", "ann", id_, "benign")
    desk.submit("cakes", "ann", id_, "benign", note="taken back, a secret")
    assert desk.undo("cakes", "ann") == id_
    assert desk.open("cakes", "ann", id_).judgment.draft["note"] == "taken back, a secret"
    assert desk.last("cakes", "bob")[0].case.title.startswith("Please bake")
    assert desk.listed("cakes", limit=1, room=9).cases[0].title.startswith("Please bake")
    assert [each.note for each in desk.story("cakes", claim.stored.id)[2]] == ["a last secret"]
    held = everything(engine)
    assert "secret" not in held
    assert "bake" not in held
    assert other.listed("cakes", limit=1, room=9).cases[0].title == f"Case {id_}"


def test_what_is_encrypted_is_not_found(desks):
    desk, _ = desks
    desk.put("cakes", QueueConfig(**SETTINGS))
    desk.add("cakes", [make_case(1)])
    for piece in ("bake", "gAAAA", "sealed"):
        assert desk.listed("cakes", limit=9, room=9, matching={"text": piece}).cases == []
    found = desk.listed("cakes", limit=9, room=9, matching={"text": "case-1", "ref": "case-1"})
    assert len(found.cases) == 1


def test_titles_of_earlier_versions_go_when_the_database_is_migrated(desks, engine):
    desk, _ = desks
    desk.put("cakes", QueueConfig(**SETTINGS))
    desk.add("cakes", [make_case(1)])
    Desk(engine, now=lambda: 1.0).add("cakes", [make_case(2)])
    with store.writing(engine) as connection:
        connection.execute(text("UPDATE review_cases SET title = 'Please bake'"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0004'"))
    store.migrate(engine)
    titles = {each.ref: each.title for each in desk.listed("cakes", limit=9, room=9).cases}
    assert titles == {"case-1": f"Case {desk.next('cakes', 'ann').stored.id}",
                      "case-2": "Please bake"}  # fmt: skip


def test_plain_notes_that_look_odd_stay_as_they_are(filled):
    desk = filled(1)
    claim = desk.next("cakes", "ann")
    note = "sealed: the envelope"
    desk.submit("cakes", "ann", claim.stored.id, "benign", note=note)
    (given,) = desk.rated("cakes", limit=9)
    assert given.judgment.note == note
    assert open_notes(given.judgment, store.Vault([store.new_vault_key()])).note == note
    assert seal_note(None, None, at=0) is None


def test_a_case_without_its_key_is_not_opened_by_its_address(one_lost):
    desk, _ = one_lost
    id_ = min(each.id for each in desk.listed("cakes", limit=9, room=9).cases)
    with pytest.raises(DataError, match="encrypted"):
        desk.open("cakes", "ann", id_)
