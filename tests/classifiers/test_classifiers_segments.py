from hypothesis import given
from hypothesis import strategies as st

from custodes.classifiers.segments import LONGEST, Segmenter, segments

TEXTS = st.text(st.characters(codec=None) | st.sampled_from(" \n\t  aé中"), max_size=300)


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
    assert all(len(piece.text) <= 3 * LONGEST for piece in found)


def test_a_segment_is_a_word_with_the_space_before_it():
    assert [piece.text for piece in segments("one  two\nthree ")] == ["one ", " two", "\nthree "]


def test_a_word_without_end_is_cut():
    found = segments("x" * 1000)
    assert len(found) == -(-1000 // LONGEST)
    assert segments("") == []


def test_a_text_of_white_space_is_one_bounded_sequence():
    assert "".join(piece.text for piece in segments(" " * 1000)) == " " * 1000
