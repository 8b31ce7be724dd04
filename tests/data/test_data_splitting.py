"""Splits: every row in one part, no group cut, nobody moved by those who come later."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.data import split
from custodes.errors import DataError
from custodes.types import Example, Message

PARTS = {"train": 0.7, "check": 0.2, "test": 0.1}


def row(number: int, group: str | None) -> Example:
    return Example(id=f"r{number}", source="s", kind="k", text=f"t {number}", group=group)


GROUPS = st.lists(st.none() | st.sampled_from("abcdef") | st.just("\ud800"), max_size=30)


@settings(deadline=None, max_examples=50)
@given(groups=GROUPS, seed=st.integers(0, 5))
def test_a_split_is_a_partition_that_cuts_no_group(groups, seed):
    rows = [row(number, group) for number, group in enumerate(groups)]
    parts = split(rows, PARTS, seed=seed)
    assert list(parts) == list(PARTS)
    assert sorted(r.id for part in parts.values() for r in part) == sorted(r.id for r in rows)
    homes = [{r.group for r in part if r.group is not None} for part in parts.values()]
    assert sum(map(len, homes)) == len(set().union(*homes))
    assert all(part == [r for r in rows if r in part] for part in parts.values())


@settings(deadline=None, max_examples=50)
@given(groups=GROUPS, more=GROUPS)
def test_rows_that_are_added_move_nobody(groups, more):
    old = [row(number, group) for number, group in enumerate(groups)]
    new = [row(number + 100, group) for number, group in enumerate(more)]
    before, after = split(old, PARTS, seed=1), split([*new, *old], PARTS, seed=1)
    assert all([r for r in after[name] if r in old] == before[name] for name in PARTS)


def test_parts_have_about_their_size_and_the_seed_matters():
    rows = [row(number, None) for number in range(5000)]
    parts = split(rows, PARTS, seed=0)
    assert [len(part) / 5000 for part in parts.values()] == pytest.approx(
        list(PARTS.values()), abs=0.03
    )
    assert split(rows, PARTS, seed=0) == parts
    assert split(rows, PARTS, seed=1) != parts


def test_rows_without_a_group_that_ask_the_same_stay_together():
    rows = [row(number, None) for number in range(200)]
    again = [
        Example(id=f"again{n}", source="s", kind="k", messages=(Message("user", f" T  {n}"),))
        for n in range(200)
    ]
    parts = split([*rows, *again], PARTS, seed=0)
    homes = {each.id: name for name, part in parts.items() for each in part}
    assert all(homes[f"r{n}"] == homes[f"again{n}"] for n in range(200))


@pytest.mark.parametrize("fractions", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": float("nan")}])
def test_wrong_fractions(fractions):
    with pytest.raises(DataError, match="expected positive numbers that add up to 1"):
        split([], fractions, seed=0)


def test_a_system_turn_that_all_rows_share_does_not_tie_them_together():
    rows = [
        Example(id=f"s{n}", source="s", kind="k",
                messages=(Message("system", "You are helpful."), Message("user", f"t {n}")))
        for n in range(500)
    ]  # fmt: skip
    parts = split(rows, PARTS, seed=0)
    assert [len(part) / 500 for part in parts.values()] == pytest.approx(
        list(PARTS.values()), abs=0.06
    )
    alone = split([row(n, None) for n in range(500)], PARTS, seed=0)
    for name, part in parts.items():  # they go where the same question goes without it
        assert [each.id[1:] for each in part] == [each.id[1:] for each in alone[name]]


def test_rows_that_no_user_speaks_in_go_by_what_is_said_or_by_their_ids():
    said = [
        Example(id=f"a{n}", source="s", kind="k", messages=(Message("assistant", f"t {n}"),))
        for n in range(200)
    ]
    alone = split([row(n, None) for n in range(200)], PARTS, seed=0)
    for name, part in split(said, PARTS, seed=0).items():
        assert [each.id[1:] for each in part] == [each.id[1:] for each in alone[name]]
    blank = [Example(id=f"b{n}", source="s", kind="k", text=" ") for n in range(200)]
    assert all(split(blank, PARTS, seed=0).values())
