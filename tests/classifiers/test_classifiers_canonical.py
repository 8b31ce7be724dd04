import base64
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.classifiers.canonical import canonical
from custodes.classifiers.unseen import NOT_DRAWN


@pytest.mark.parametrize(
    ("disguised", "plain"),
    [
        ("plain", "plain"),
        (" pl\u200bain", " plain"),
        ("pа\u0456nt", "paint"),
        ("p\ufe0fa\ufe0f\ufe0fi\ufe0en\ufe0ft\ufe0f", "paint"),
        ("p\u034fa\u3164i\uffa0n\u180bt\U000e0101", "paint"),
        ("ｐａｉｎｔ", "paint"),
        (base64.b64encode(b"water the garden").decode(), "water the garden"),
        (base64.b64encode(b"water the gardens").decode(), "water the gardens"),
        (b"water the garden".hex(), "water the garden"),
        ("0x" + b"water the garden".hex(), "water the garden"),
    ],
)
def test_a_disguise_comes_off(disguised, plain):
    assert canonical(disguised) == plain


@pytest.mark.parametrize(
    "text",
    [
        "Привет",
        "internationalization",
        "d41d8cd98f00b204e9800998ecf8427e",
        "https://example.org/a/b",
        "AAAAAAAAAAAAAAAA",
        "\u2764\ufe0f",
        "1\ufe0f\u20e3",
    ],
)
def test_what_is_no_disguise_stays(text):
    assert canonical(text) == text


def test_the_end_of_a_cut_may_hold_half_a_character():
    cut = base64.b64encode("the garden is très joli é".encode()[:-1]).decode()
    assert canonical(cut).startswith("the garden is très joli")


@given(st.text(st.characters(codec=None), max_size=60))
def test_anything_becomes_encodable(text):
    canonical(text).encode("utf-8") if not text.isascii() else canonical(text)


GARDEN = "water the garden at noon"


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (b"water the garden\r\nat noon", "water the garden\r\nat noon"),
        ("water the\u00a0garden at noon".encode(), GARDEN),
        ("water the\u200b garden at noon".encode(), GARDEN),
        (f"\ufeff{GARDEN}".encode(), GARDEN),
        (f"{GARDEN} \U0001f468\u200d\U0001f33e".encode(), f"{GARDEN} \U0001f468\U0001f33e"),
        (b"water the ga\xffrden at noon", GARDEN),
        (b"water the ga\x07rden at noon", GARDEN),
        (GARDEN.encode("utf-16-le"), GARDEN),
        (GARDEN.encode("utf-16-be"), GARDEN),
        (GARDEN.encode("utf-16"), GARDEN),
        (GARDEN.encode("utf-32-le"), GARDEN),
        ("поливать сад".encode(), "поливать сад"),
        (b"w\xffa\xfft\xffe\xffr the garden", None),
        (bytes(range(0x80, 0xA0)), None),
        (b"17.5, 28.4, 39.3, 40.2", None),
    ],
)
def test_a_strange_byte_does_not_hide_the_text_around_it(data, plain):
    for code in (base64.b64encode(data).decode(), data.hex()):
        assert canonical(code) == (code if plain is None else plain)


@pytest.mark.parametrize(
    ("disguised", "plain"),
    [
        ("b\u0336r\u0336e\u0336a\u0336d\u0336", "bread"),
        (" \u0336b\u0336r\u0336e\u0336a\u0336d", " bread"),
        ("b\u20e3r\u20e3e\u20e3a\u20e3d", "bread"),
        ("b\u0353\u0311r\u0345\u0300\u0306e\u0353a\u0300\u0315d\u0301", "breàd"),
        ("br\u0435\u0336ad", "bread"),
        ("bre\u200b\u0301ad", "bréad"),  # typos: ignore
    ],
)
def test_marks_over_letters_come_off(disguised, plain):
    assert canonical(disguised) == plain


@pytest.mark.parametrize(
    "text",
    ["éàüñçőžż", "ẹ̀kọ́", "g̃uarani", "за́мок", "नमस्ते", "สวัสดีครับ", "שָׁלוֹם", "tiếng", "a1\ufe0f\u20e3"],
)
def test_accents_that_languages_have_stay(text):
    assert canonical(text) == text
    assert canonical(unicodedata.normalize("NFD", text)) == canonical(text)


def test_what_is_not_drawn_holds_all_format_characters():
    not_drawn = re.compile(f"[{NOT_DRAWN}]")
    formats = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) == "Cf"]
    assert all(map(not_drawn.match, formats))
