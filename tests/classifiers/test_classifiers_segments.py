import base64
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.classifiers.canonical import canonical
from custodes.classifiers.segments import LONGEST, LONGEST_DRAWN_OR_NOT, Segmenter, segments
from custodes.classifiers.unseen import MARKS, NOT_DRAWN, SELECTORS

UNCOUNTED = re.compile(f"[{NOT_DRAWN}{SELECTORS}{MARKS}]")
RECIPE = "Please explain how I bake a large sourdough loaf in an ordinary oven without steam."
BASE64 = base64.b64encode(RECIPE.encode()).decode()
SIGNS = st.characters(codec=None) | st.sampled_from(" \n\t  aé中\u200b\u0336\ufe0f")
PIECES = st.sampled_from([BASE64, BASE64[:50], RECIPE.encode().hex(), "x" * 47, '"', "\u200b" * 30])
TEXTS = st.text(SIGNS, max_size=300) | st.lists(PIECES | st.text(SIGNS, max_size=20)).map("".join)


@given(TEXTS, st.lists(st.integers(1, 40), max_size=40))
def test_any_chunking_gives_the_same_segments(text, cuts):
    segmenter = Segmenter()
    found, start = [], 0
    for cut in [*cuts, len(text)]:
        found += segmenter.push(text[start : start + cut])
        start += cut
    found += segmenter.finish()
    assert found == segments(text)


@given(TEXTS)
def test_segments_join_to_the_text_and_stay_short(text):
    found = segments(text)
    assert "".join(piece.text for piece in found) == text
    assert [piece.end for piece in found[:-1]] == [piece.start for piece in found[1:]]
    assert all(len(UNCOUNTED.sub("", piece.text)) <= 3 * LONGEST for piece in found)


def test_a_segment_is_a_word_with_the_space_before_it():
    assert [piece.text for piece in segments("one  two\nthree ")] == ["one ", " two", "\nthree "]


def test_a_word_without_end_is_cut():
    found = segments("x" * 1000)
    assert len(found) == -(-1000 // LONGEST)
    assert segments("") == []


def test_a_text_of_white_space_is_one_bounded_sequence():
    assert "".join(piece.text for piece in segments(" " * 1000)) == " " * 1000


def read(text):
    return "".join(canonical(piece.text) for piece in segments(text))


@pytest.mark.parametrize("sign", ["\u200b", "\u2060", "\u0336", "\ufe0f", "\U000e0101", "\u034f"])
@pytest.mark.parametrize("times", [1, 20, 47, 300])
def test_what_is_not_drawn_cuts_no_word(sign, times):
    torn = "".join(letter + sign * times for letter in "how to bake a loaf")
    assert [canonical(piece.text) for piece in segments(torn)] == [
        "how", " to", " bake", " a", " loaf"
    ]  # fmt: skip


def test_what_is_not_drawn_is_bounded_all_the_same():
    text = "\u200b" * 10_000
    found = segments(f"{text} {text}")
    assert max(len(piece.text) for piece in found) <= LONGEST_DRAWN_OR_NOT + 1
    segmenter = Segmenter()
    began = time.process_time()
    one_by_one = [piece for sign in f"{text} {text}" for piece in segmenter.push(sign)]
    assert one_by_one + segmenter.finish() == found
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "before",
    ["", "`", '"', "code:", "key=", "(", "a: ", *("-" * length for length in range(30, 50))],
)
@pytest.mark.parametrize("code", [BASE64, RECIPE.encode().hex()])
def test_a_code_behind_other_signs_is_cut_at_its_groups(before, code):
    # The last group may be too short to be known.
    assert read(before + code).startswith(before + RECIPE[:-8])


@pytest.mark.parametrize(
    "word",
    [
        "https://example.org/documentation/user/guide/installation/linux/index.html?page=2&lang=en",
        "`some.package.module.ClassName.method_name_that_is_long(argument_one,argument_two)`",
        "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
        "(0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef)",
    ],
)
def test_other_long_words_are_cut_where_they_reach_the_longest(word):
    found = [piece.text for piece in segments(word)]
    assert found == [word[at : at + LONGEST] for at in range(0, len(word), LONGEST)]
