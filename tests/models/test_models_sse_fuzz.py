"""Any bytes at all, cut in any way, against a decoder written down from the standard's words."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.models.sse import EventDecoder, ServerEvent

# Bytes that mean something to a decoder are frequent, and so is broken UTF-8.
MEANT = b"data|:| |\n|\r|\r\n|event|id|retry|\xef\xbb\xbf|\xff|\xf0\x9f|\x8d\xb0|\xc3\xa9|\x00|7"
pieces = st.lists(
    st.sampled_from([*MEANT.split(b"|"), b"data: x\n\n"]) | st.binary(max_size=6), max_size=40
)


def by_the_book(data: bytes) -> list[ServerEvent]:
    """WHATWG HTML, section 9.2.6, over a whole stream."""
    text = data.decode("utf-8", errors="replace").removeprefix("\ufeff")
    *lines, _ = re.split("\r\n|\r|\n", text)
    found, name, held = [], "", []
    for line in lines:
        field, _, value = line.partition(":")
        if not line:
            if held:
                found.append(ServerEvent(name or "message", "\n".join(held)))
            name, held = "", []
        elif field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            held.append(value.removeprefix(" "))
    return found


def check(parts: list[bytes]) -> None:
    decoder = EventDecoder()
    assert [event for part in parts for event in decoder.push(part)] == by_the_book(b"".join(parts))


@given(pieces)
def test_any_bytes_are_decoded_by_the_book(parts: list[bytes]) -> None:
    check(parts)


@pytest.mark.slow
@settings(max_examples=50_000)
@given(pieces)
def test_any_bytes_are_decoded_by_the_book_however_long_one_looks(parts: list[bytes]) -> None:
    check(parts)
    whole = b"".join(parts)
    check([whole])
    check([whole[place : place + 1] for place in range(len(whole))])
