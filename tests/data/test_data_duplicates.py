"""Duplicates: the first stays, the rest go, and only what is truly alike."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.data import deduplicate, normalize
from custodes.errors import DataError
from custodes.types import Example, Message

WORDS = [
    *("bread", "oven", "flour", "water", "salt", "yeast", "dough"),
    *("crust", "butter", "seed", "rye", "wheat", "stone", "heat", "rise"),
]


def rows_of(*texts: str) -> list[Example]:
    return [
        Example(id=f"r{i}", source="s", kind="k", text=text) for i, text in enumerate(texts)
    ]  # fmt: skip


def jaccard(one: str, other: str) -> float:
    a, b = ({t[i : i + 5] for i in range(max(1, len(t) - 4))} for t in map(normalize, (one, other)))
    return len(a & b) / len(a | b)


def test_normalize():
    assert normalize("  Ｓtraße\n\tABC ﬁ ") == "strasse abc fi"


def test_exact_duplicates_keep_the_first():
    rows = rows_of("Bake bread", "bake\u00a0 BREAD ", "Bake cake", "", "  ", "\ud800", "\ud800")
    done = deduplicate(rows, near=None)
    assert [row.id for row in done.rows] == ["r0", "r2", "r3", "r5"]
    assert done.exact == {"r1": "r0", "r4": "r3", "r6": "r5"}
    assert done.near == {}


def test_roles_tell_rows_apart_but_not_near_ones():
    turns = (Message("user", "bake bread"), Message("assistant", "knead the dough"))
    swapped = tuple(Message(t.role, o.content) for t, o in zip(turns, turns[::-1], strict=True))
    said = [
        Example(id=str(i), source="s", kind="k", messages=m)
        for i, m in enumerate((turns, swapped, turns))
    ]
    assert deduplicate(said, near=None).exact == {"2": "0"}


def test_near_duplicates_go_and_others_stay():
    rng = random.Random(0)
    base = [" ".join(rng.choices(WORDS, k=40)) for _ in range(200)]
    edited = [text.replace(" ", "  ", 1)[:-1] + "z" for text in base[:50]]
    done = deduplicate(rows_of(*base, *edited), near=0.8)
    assert done.near == {f"r{200 + i}": f"r{i}" for i in range(50)}
    assert [row.text for row in done.rows] == base
    assert done == deduplicate(rows_of(*base, *edited), near=0.8)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.lists(st.sampled_from(WORDS[:5]), max_size=8).map(" ".join), max_size=12),
    near=st.sampled_from([0.05, 0.3, 0.6, 0.9, 1.0]),
)
def test_what_is_dropped_is_truly_alike(texts, near):
    done = deduplicate(rows_of(*texts), near=near)
    by_id = {row.id: row.text for row in rows_of(*texts)}
    kept = {row.id for row in done.rows}
    assert kept.isdisjoint(done.near) and kept.isdisjoint(done.exact)
    assert len(kept) + len(done.near) + len(done.exact) == len(texts)
    for gone, stays in done.near.items():
        assert stays in kept
        assert jaccard(by_id[gone], by_id[stays]) >= near - 1e-12
    for gone, stays in done.exact.items():
        assert stays in kept
        assert normalize(by_id[gone]) == normalize(by_id[stays])


def test_pairs_at_the_threshold_are_found():
    rng = random.Random(1)
    pairs = []
    while len(pairs) < 100:
        words = rng.choices(WORDS, k=60)
        cut = rng.randrange(1, 12)
        one, other = " ".join(words), " ".join(words[cut:])
        if 0.8 <= jaccard(one, other) < 0.86:
            pairs += [one, other]
    done = deduplicate(rows_of(*pairs), near=0.8)
    assert len(done.near) + len(done.exact) == 50


def test_wrong_arguments():
    for near in (0.0, -1.0, 1.1, float("nan")):
        with pytest.raises(DataError, match=r"expected a number in \(0, 1\]"):
            deduplicate([], near=near)
    with pytest.raises(DataError, match="'r0' comes twice"):
        deduplicate(rows_of("a") * 2, near=None)


@pytest.mark.slow
def test_twenty_thousand_rows_in_less_than_thirty_seconds():
    import time

    rng = random.Random(2)
    rows = rows_of(*(" ".join(rng.choices(WORDS, k=80)) for _ in range(20_000)))
    begin = time.perf_counter()
    assert len(deduplicate(rows, near=0.8).rows) > 19_000
    assert time.perf_counter() - begin < 30


def test_what_repeats_a_near_duplicate_is_near_the_row_that_stays():
    base = "The quick brown fox jumps over the lazy dog and then runs into the forest at night"
    done = deduplicate(rows_of(base, base + "!", (base + "!").upper()), near=0.8)
    assert [row.id for row in done.rows] == ["r0"]
    assert done.near == {"r1": "r0", "r2": "r0"}
    assert done.exact == {}
