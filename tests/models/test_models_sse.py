from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.errors import ModelServerError
from custodes.models.sse import EventDecoder, ServerEvent

STREAM = (
    "\ufeff: a comment\r\nevent: greeting\rdata: héllo\n\n"
    "data:no space\ndata:  two spaces\r\n\r\n"
    "event: without data\n\nid: 7\nretry: 3\ndata\n\n"
    "data: 日本👋🏽\r\rdata: cut off"
).encode()
EVENTS = [
    ServerEvent("greeting", "héllo"),
    ServerEvent("message", "no space\n two spaces"),
    ServerEvent("message", ""),
    ServerEvent("message", "日本👋🏽"),
]


def decode(*pieces: bytes) -> list[ServerEvent]:
    decoder = EventDecoder()
    return [event for piece in pieces for event in decoder.push(piece)]


def test_events_follow_the_standard() -> None:
    assert decode(STREAM) == EVENTS


def test_every_split_in_two_gives_the_same_events() -> None:
    for cut in range(len(STREAM) + 1):
        assert decode(STREAM[:cut], STREAM[cut:]) == EVENTS


def test_byte_by_byte_gives_the_same_events() -> None:
    assert decode(*(STREAM[i : i + 1] for i in range(len(STREAM)))) == EVENTS


@given(text=st.text(alphabet="\r\n:d ataevnté👋", max_size=60), cuts=st.lists(st.integers(0, 200)))
def test_any_split_of_any_stream_gives_the_same_events(text: str, cuts: list[int]) -> None:
    data = text.encode()
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[a:b] for a, b in pairwise(places)]
    assert decode(*pieces) == decode(data)


def test_an_event_comes_out_with_its_last_byte() -> None:
    decoder = EventDecoder()
    assert decoder.push(b"data: now\r\n\r") == [ServerEvent("message", "now")]
    assert decoder.push(b"\ndata: next\n\n") == [ServerEvent("message", "next")]


def test_an_endless_event_is_refused() -> None:
    decoder = EventDecoder(limit=100)
    decoder.push(b"data: " + b"x" * 50 + b"\n\n")
    decoder.push(b"data: " + b"x" * 80)
    with pytest.raises(ModelServerError, match="more than 100 characters"):
        decoder.push(b"x" * 40)
