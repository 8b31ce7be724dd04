"""Cases to put in queues, and a clock that passes when a test says so."""

from custodes import store
from custodes.review.cases import Case, Opinion
from custodes.types import Message


class Clock:
    """Time that passes when a test says so."""

    def __init__(self):
        self.at = 1_700_000_000.0

    def __call__(self):
        return self.at


def make_case(number, *, confidence=0.5, answer="benign", **fields):
    values = {
        "ref": f"case-{number}",
        "messages": (Message("user", f"Please bake cake number {number}. It should be sweet."),),
        "opinions": (Opinion(source="guard", answer=answer, confidence=confidence),),
    }
    return Case(**{**values, **fields})


def judge(desk, rater, answer="benign"):
    """Judge the next case of the queue cakes; its id."""
    claim = desk.next("cakes", rater)
    assert desk.submit("cakes", rater, claim.stored.id, answer)
    return claim.stored.id


def case(desk, id_):
    with desk.reading() as connection:
        return store.case_of(connection, id_)
