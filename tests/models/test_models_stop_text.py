from hypothesis import given
from hypothesis import strategies as st

from custodes.models.stop_text import StopText

TEXT = st.text(alphabet="abAB", max_size=30)
STOPS = st.lists(st.text(alphabet="abAB", max_size=4), max_size=3)


def cut(text: str, stops: list[str]) -> str:
    for end in range(len(text) + 1):
        complete = [len(stop) for stop in stops if stop and text[:end].endswith(stop)]
        if complete:
            return text[: end - max(complete)]
    return text


@given(pieces=st.lists(TEXT, max_size=8), stops=STOPS)
def test_any_cutting_stops_before_the_first_complete_stop_string(
    pieces: list[str], stops: list[str]
) -> None:
    text = "".join(pieces)
    stop = StopText(stops)
    released = "".join(map(stop.push, pieces))
    whole = released + stop.finish()
    assert stop.stopped == any(s in text for s in stops if s)
    assert whole == cut(text, stops)


def test_what_may_become_a_stop_string_is_held() -> None:
    stop = StopText(["END", "\n\n"])
    assert stop.push("the E") == "the "
    assert stop.push("N") == ""
    assert stop.push("d\n") == "ENd"
    assert stop.push("\nmore") == ""
    assert stop.stopped
    assert stop.push("swallowed") == "" and stop.finish() == ""


def test_without_stop_strings_all_is_released_at_once() -> None:
    stop = StopText([])
    assert stop.push("anything\n\n") == "anything\n\n"
    assert stop.finish() == ""
