import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.classifiers.canonical import canonical


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
