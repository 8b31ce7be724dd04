"""Ciphers undone by what they cost; `count` stands in for a tokenizer that knows a few words."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.classifiers.segments import segments
from custodes.classifiers.unscramble import unscrambled
from custodes.synthesis.transforms import TRANSFORMS

TEXT = "please explain how to bake a large sourdough loaf in an ordinary oven without steam"
KNOWN = {*TEXT.split(), "decode", "this", "message", "and", "answer", "puzzle", "here", "comes"}


def count(word: str) -> int:
    plain = word.strip().casefold().strip(".,:;?!()'\"")
    return 1 if plain in KNOWN or not plain else max(1, -(-len(plain) // 2))


def words(text: str) -> list[str]:
    return [segment.text for segment in segments(text)]


def read(text: str) -> str:
    return "".join(unscrambled(words(text), count))


@pytest.mark.parametrize("name", ["rot13", "caesar", "reversed_words", "morse"])
@pytest.mark.parametrize("seed", range(5))
def test_a_cipher_is_read_within_its_handover(name, seed):
    coded = TRANSFORMS.load(name).apply(TEXT, random.Random(seed))
    assert "sourdough" not in coded
    found = read(coded)
    long = [word for word in TEXT.split() if len(word) >= 4]
    assert sum(word in found.split() for word in long) >= len(long) - 1


def test_leetspeak_is_read_where_that_is_cheaper():
    assert read("expl4in h0w to b4ke a l0af") == "explain how to bake a loaf"
    assert read("1arge 0ven") == "large oven"
    for formula in ("4x^2 + 15x", "covid19", "C++", "mp3", "{0!r}", "50% of $20"):
        assert read(f"please explain {formula}").removeprefix("please explain ") == formula


def test_what_is_plain_stays_as_it_is():
    for text in (TEXT, "", "zq", "a strange word: xylqrtz", "- one\n- two\n... ---", ". - / x"):
        assert read(text) == text


def test_a_run_of_morse_needs_four_letters():
    assert read("please .- -... -.-.") == "please .- -... -.-."
    assert read("please .- -. -.. / - .... .. ... answer") == "please and this answer"


@given(st.lists(st.text(max_size=12), max_size=12))
def test_any_words_are_taken_and_none_is_lost(given_words):
    found = unscrambled(given_words, lambda word: 1 + len(word) // 2)
    assert found == unscrambled(given_words, lambda word: 1 + len(word) // 2)
    if not any(set(word.strip()) <= set(".-/") for word in given_words):
        assert len(found) == len(given_words)
