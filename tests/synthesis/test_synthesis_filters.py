"""Filters: what is dropped, and that it is counted."""

from __future__ import annotations

from dataclasses import replace

from custodes.synthesis import SynthesisConfig, filter_rows
from custodes.types import Example, Message

CONFIG = SynthesisConfig(min_chars=4, max_chars=100)


def prompt(number: int, text: str, label: int = 0) -> Example:
    return Example(
        id=f"r{number}",
        source="test",
        kind="benign_request",
        text=text,
        label=1 if label else 0,
        meta={"side": "input"},
    )


def reply(number: int, asked: str, answered: str, *, label: int, side: str) -> Example:
    turns = (Message("user", asked), Message("assistant", answered))
    return replace(prompt(number, "", label), text=None, messages=turns, meta={"side": side})


def ids(rows: list[Example]) -> list[str]:
    return [row.id for row in rows]


def test_too_short_and_too_long_go() -> None:
    rows = [prompt(0, "abc"), prompt(1, "just right"), prompt(2, "x" * 101)]
    rows.append(reply(3, "y" * 90, "z" * 20, label=0, side="exchange"))
    found = filter_rows(rows, CONFIG)
    assert ids(found.rows) == ["r1"]
    assert found.dropped == {"too_short": 1, "too_long": 2}


def test_a_text_under_both_labels_goes_wholly() -> None:
    rows = [prompt(0, "Grow  MINT", 1), prompt(1, "grow mint"), prompt(2, "grow basil")]
    found = filter_rows(rows, CONFIG)
    assert ids(found.rows) == ["r2"]
    assert found.dropped == {"label_conflict": 2}


def test_a_reply_judged_alone_conflicts_whatever_was_asked() -> None:
    output = [
        reply(0, "mint?", "Water it.", label=1, side="output"),
        reply(1, "basil?", "Water it.", label=0, side="output"),
    ]
    assert filter_rows(output, CONFIG).dropped == {"label_conflict": 2}
    exchange = [replace(row, meta={"side": "exchange"}) for row in output]
    assert filter_rows(exchange, CONFIG).rows == exchange


def test_exact_duplicates_leave_one() -> None:
    rows = [prompt(0, "grow basil"), prompt(1, "Grow basil "), prompt(2, "grow thyme")]
    found = filter_rows(rows, CONFIG)
    assert ids(found.rows) == ["r0", "r2"]
    assert found.dropped == {"duplicate": 1}


def test_near_duplicates_go_within_a_label_only() -> None:
    text = "how do I grow a large pot of {} on the balcony of my flat in the summer"
    rows = [
        prompt(0, text.format("basil")),
        prompt(1, text.format("basil") + "?"),
        prompt(2, text.format("basil") + "!", 1),
    ]
    found = filter_rows(rows, CONFIG.model_copy(update={"near": 0.9}))
    assert ids(found.rows) == ["r0", "r2"]
    assert found.dropped == {"near_duplicate": 1}
    assert filter_rows(rows, CONFIG).rows == rows


def test_the_judge_s_no_counts_and_its_silence_does_not() -> None:
    rows = [prompt(0, "one basil"), prompt(1, "two basils"), prompt(2, "three basils")]
    found = filter_rows(rows, CONFIG, judge=lambda _: [True, False, None])
    assert ids(found.rows) == ["r0", "r2"]
    assert found.dropped == {"judge": 1}


def test_nothing_in_nothing_out() -> None:
    found = filter_rows([], CONFIG, judge=lambda rows: [])
    assert found.rows == []
    assert not found.dropped
