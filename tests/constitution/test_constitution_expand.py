"""The grammar engine: counting, drawing, and its laws."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.constitution import Lexicon, capitalize, count, draw, nth, sample, slot_names
from custodes.errors import ConstitutionError

SLOTS = {
    "dish": ["soup", "{taste} cake", "{taste} {bread}"],
    "taste": ["sweet", "salty"],
    "bread": ["rye", "oat", "rice"],
}


@st.composite
def lexicons(draw_: st.DrawFn) -> tuple[str, dict[str, list[str]]]:
    """A phrase and slots a..d that name only later slots; fillings always differ as texts."""
    names = "abcd"
    slots: dict[str, list[str]] = {}
    for position, name in enumerate(names):
        size = draw_(st.integers(1, 3))
        later = (
            st.lists(st.sampled_from(names[position + 1 :]), max_size=2) if name != "d" else None
        )
        slots[name] = []
        for number in range(size):
            inner = draw_(later) if later is not None else []
            slots[name].append(f"<{number}" + "".join(f"{{{i}}}" for i in inner) + ">")
    phrase = "".join(f"{{{name}}}" for name in draw_(st.lists(st.sampled_from(names), max_size=3)))
    return phrase, slots


@settings(deadline=None, max_examples=60)
@given(lexicons())
def test_count_is_the_number_of_distinct_fillings(case: tuple[str, dict[str, list[str]]]) -> None:
    phrase, slots = case
    total = count(phrase, slots)
    if total <= 500:
        assert len({nth(phrase, slots, index) for index in range(total)}) == total


@settings(deadline=None, max_examples=60)
@given(lexicons(), st.integers(0, 2**32))
def test_draws_are_fillings_and_repeat_by_seed(
    case: tuple[str, dict[str, list[str]]], seed: int
) -> None:
    phrase, slots = case
    text = draw(phrase, slots, random.Random(seed))
    assert text == draw(phrase, slots, random.Random(seed))
    if count(phrase, slots) <= 500:
        assert text in {nth(phrase, slots, index) for index in range(count(phrase, slots))}


@settings(deadline=None, max_examples=60)
@given(lexicons(), st.integers(0, 30), st.integers(0, 2**32))
def test_samples_are_distinct_and_as_many_as_there_are(
    case: tuple[str, dict[str, list[str]]], size: int, seed: int
) -> None:
    phrase, slots = case
    texts = sample(phrase, slots, size, random.Random(seed))
    assert len(texts) == len(set(texts)) == min(size, count(phrase, slots))
    assert texts == sample(phrase, slots, size, random.Random(seed))


def test_count_by_hand() -> None:
    assert count("no slot", SLOTS) == 1
    assert count("{dish}", SLOTS) == 1 + 2 + 2 * 3
    assert count("{dish} or {dish}", SLOTS) == 9
    assert count("{dish} or {bread}", SLOTS) == 27
    assert count("{x}", {"x": ["a", "a", "b"]}) == 2


def test_counts_are_exact_far_beyond_what_can_be_listed() -> None:
    slots = {"s0": ["a", "b"]}
    for level in range(1, 80):
        slots[f"s{level}"] = [f"{{s{level - 1}}}x", f"{{s{level - 1}}}y"]
    assert count("{s79}", slots) == 2**80
    assert len(sample("{s79}", slots, 50, random.Random(0))) == 50
    assert nth("{s79}", slots, 2**80 - 1) == "b" + "y" * 79


def test_fillers_are_equally_likely_whatever_they_hold() -> None:
    rng = random.Random(1)
    heads = Counter("soup" in draw("{dish}", SLOTS, rng) for _ in range(3000))
    assert 900 < heads[True] < 1100


def test_a_slot_twice_in_a_phrase_has_one_filling() -> None:
    rng = random.Random(2)
    for _ in range(20):
        first, second = draw("{bread} and {bread}", SLOTS, rng).split(" and ")
        assert first == second


def test_a_sample_of_poor_fillers_is_completed_by_rich_ones() -> None:
    slots = {"x": [*"abcdefgh", "{deep}"], "deep": [str(number) for number in range(500)]}
    texts = sample("{x}", slots, 508, random.Random(3))
    assert len(set(texts)) == 508


def test_texts_that_read_alike_are_given_once() -> None:
    slots = {"a": ["x", "xy"], "b": ["yz", "z"]}
    assert count("{a}{b}", slots) == 4
    assert sorted(sample("{a}{b}", slots, 10, random.Random(0))) == ["xyyz", "xyz", "xz"]


@pytest.mark.parametrize(
    ("phrase", "slots", "message"),
    [
        ("{x}", {}, r"the slot \{x\} is unknown; known slots: \(none\)"),
        ("{x}", {"x": []}, "has no fillers"),
        ("{x}", {"x": ["{y}"], "y": ["{z}", "a"], "z": ["{y}"]}, "themselves: y -> z -> y"),
        ("{x}", {"x": ["a{x}"]}, "themselves: x -> x"),
        ("{X}", {"X": ["a"]}, "stray brace"),
        ("{x", {"x": ["a"]}, "stray brace"),
        ("{x}}", {"x": ["a"]}, "stray brace"),
    ],
)
def test_slots_that_cannot_be_filled(
    phrase: str, slots: dict[str, list[str]], message: str
) -> None:
    for use in (
        lambda: count(phrase, slots),
        lambda: draw(phrase, slots, random.Random(0)),
        lambda: nth(phrase, slots, 0),
        lambda: sample(phrase, slots, 1, random.Random(0)),
    ):
        with pytest.raises(ConstitutionError, match=message):
            use()


@pytest.mark.parametrize("index", [-1, 9])
def test_an_index_outside_is_refused(index: int) -> None:
    with pytest.raises(ConstitutionError, match="expected 0 <= index < 9"):
        nth("{dish}", SLOTS, index)


def test_slot_names_are_in_order_of_first_use() -> None:
    assert slot_names("{b} {a} {b}") == ("b", "a")


@pytest.mark.parametrize(
    ("phrase", "filling", "text"),
    [
        ("a {x}", "apple", "an apple"),
        ("an {x}", "loaf", "a loaf"),
        ("A {x}", "oven", "An oven"),
        ("a {x}", "hour", "an hour"),
        ("a {x}", "uniform", "a uniform"),
        ("a {x}", "uninteresting soup", "an uninteresting soup"),
        ("a {x}", "one-off", "a one-off"),
        ("a {x}", "European cake", "a European cake"),
        ("a {x}", "FBI agent", "an FBI agent"),
        ("a {x}", "UK cake", "a UK cake"),
        ("a {x}", "8-inch cake", "an 8-inch cake"),
        ("banana {x}", "apple", "banana apple"),
        ("plan a or {x}", "apple", "plan a or apple"),
        ("a {x}", "{y}", "an egg"),
    ],
)
def test_articles_agree_in_english(phrase: str, filling: str, text: str) -> None:
    assert draw(phrase, {"x": [filling], "y": ["egg"]}, random.Random(0)) == text


def test_articles_of_other_languages_are_left() -> None:
    rng = random.Random(0)
    assert draw("voy a {x}", {"x": ["amasar"]}, rng, language="es") == "voy a amasar"
    assert nth("voy a {x}", {"x": ["amasar"]}, 0, language="es") == "voy a amasar"
    assert Lexicon({"x": ["amasar"]}, language="es").draw("a {x}", rng) == "a amasar"


def test_sentences_begin_with_capitals() -> None:
    text = '"hello there. bake e.g. a cake! is it good? 5 eggs. éclairs'
    assert capitalize(text) == '"Hello there. Bake e.g. a cake! Is it good? 5 eggs. Éclairs'
    assert capitalize("") == ""
