"""What must hold of the gateway's pure parts for every text, every cutting and every order."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.classifiers.scripted import Pattern, ScriptedConfig, ScriptedScorer
from custodes.guard import Cascade, Edition, Guard, Policy, Stage
from custodes.models.sse import EventDecoder, ServerEvent
from custodes.server.gate import Cut, Gate, Leave
from custodes.server.hearing import Hearing
from custodes.server.wire.anthropic import Messages
from custodes.server.wire.base import Asked, Piece, WireReply
from custodes.server.wire.completions import Completions
from custodes.server.wire.openai import Chat
from custodes.server.wire.sse import encode, encode_json
from custodes.types import Message, RuleId

MARKER = "abba"
CHANNELS = ("content", "reasoning", "tool:0", "other")

plain = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
texts = st.lists(
    st.sampled_from(
        ["ab", "ba", "abba", "a", "b", "bb", " ", "\n", "\u202e", "🎂", "\x00", "....."]
    ),
    max_size=6,
).map("".join)
names = st.none() | st.text(st.sampled_from("abz_-é"), min_size=1, max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@st.composite
def cuttings(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def decode(pieces: list[bytes]) -> list[ServerEvent]:
    decoder = EventDecoder()
    return [event for piece in pieces for event in decoder.push(piece)]


@given(st.data(), st.lists(st.tuples(plain, names), max_size=4))
def test_what_is_encoded_is_decoded_whichever_way_it_is_cut(
    data: st.DataObject, events: list[tuple[str, str | None]]
) -> None:
    sent = b"".join(encode(text, name) for text, name in events)
    expected = [
        ServerEvent(name or "message", re.sub(r"\r\n|\r", "\n", text)) for text, name in events
    ]
    assert decode([sent]) == expected
    assert decode([bytes([byte]) for byte in sent]) == expected
    assert decode(data.draw(cuttings(sent))) == expected


@given(values, names)
def test_any_json_survives(value: Any, name: str | None) -> None:
    (event,) = decode([encode_json(value, name)])
    assert json.loads(event.data) == value


def guard(step: int, lag: int, hold_back: int) -> Guard:
    config = ScriptedConfig(
        patterns=(Pattern(regex=MARKER, logit=5, rule=RuleId("a")),),
        rules=(RuleId("a"),),
        step=step,
        lag=lag,
    )
    return Guard(
        Cascade([Stage(scorer=ScriptedScorer(config))]),
        Policy(hold_back=hold_back),
        edition=Edition(id="x", version="1"),
        artifact="x",
        clock=time.monotonic,
    )


@st.composite
def replies(draw: st.DrawFn) -> list[Piece]:
    """Pieces of two choices, over several channels, some of them whole."""
    found = []
    for _ in range(draw(st.integers(0, 12))):
        lane = draw(st.sampled_from([0, 1]))
        parts = tuple(
            (draw(st.sampled_from(CHANNELS)), draw(texts)) for _ in range(draw(st.integers(0, 2)))
        )
        whole = len(parts) != 1 or draw(st.booleans())
        found.append(Piece(lane, parts, whole=whole))
    return found


def pass_through(
    judge: Guard, pieces: list[Piece], batches: list[int]
) -> tuple[dict[tuple[int, str], str], set[int]]:
    """Run a reply through gate and hearing; what left by channel, and which choices were cut."""
    asked = Asked(conversations=((Message("user", "?"),),), model="m", choices_each=2)
    gate, hearing = Gate(2), Hearing(judge, asked)
    left: dict[tuple[int, str], str] = {}
    cut: set[int] = set()

    def act(outcomes: Any) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Cut):
                assert outcome.lane not in cut
                cut.add(outcome.lane)
            elif isinstance(outcome, Leave):
                assert outcome.piece.lane not in cut, "something left after the cut"
                for channel, text in outcome.piece.parts:
                    key = (outcome.piece.lane, channel)
                    left[key] = left.get(key, "") + (text if outcome.text is None else outcome.text)

    waiting = list(batches)
    for piece in pieces:
        gate.add(piece)
        act(gate.leaving())
        if waiting and waiting.pop(0):
            act(gate.settle(hearing.answer(gate.asks())))
    gate.complete()
    act(gate.settle(hearing.answer(gate.asks())))
    act(gate.leaving())
    return left, cut


def interrupted(pieces: list[Piece], lane: int, channel: str) -> bool:
    """Whether the choice leaves the channel and comes back to it."""
    order = [name for piece in pieces if piece.lane == lane for name, _ in piece.parts]
    if channel != "other":  # which stands beside the others and does not end them
        order = [name for name in order if name != "other"]
    runs = [name for name, before in zip(order, [None, *order], strict=False) if name != before]
    return runs.count(channel) > 1


@given(st.data(), st.integers(1, 5), st.text(st.sampled_from("ab "), max_size=8))
def test_no_harm_leaves_by_being_interrupted(data: st.DataObject, step: int, around: str) -> None:
    text = around + MARKER + around
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=1, max_size=4)))
    pieces = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        pieces.append(Piece(0, (("content", text[start:end]),), whole=False))
        pieces.append(Piece(0, (("reasoning", "."),), whole=False))
    left, cut = pass_through(guard(step, 0, len(MARKER) - 1), pieces, [1] * len(pieces))
    assert MARKER not in left.get((0, "content"), "")
    assert cut == {0}


@given(
    replies(),
    st.lists(st.booleans(), max_size=12),
    st.integers(1, 5),
    st.integers(0, 6),
    st.integers(len(MARKER) - 1, 6),
)
@settings(max_examples=200)
def test_no_harm_ever_leaves_and_nothing_benign_is_lost(
    pieces: list[Piece], batches: list[bool], step: int, lag: int, hold_back: int
) -> None:
    judge = guard(step, lag, hold_back)
    left, cut = pass_through(judge, pieces, [int(batch) for batch in batches])
    said: dict[tuple[int, str], str] = {}
    for piece in pieces:
        for channel, text in piece.parts:
            said[piece.lane, channel] = said.get((piece.lane, channel), "") + text
    for (lane, channel), text in said.items():
        shown = left.get((lane, channel), "")
        assert text.startswith(shown)
        assert MARKER not in shown
        if not interrupted(pieces, lane, channel) and MARKER in text:
            assert len(shown) <= text.index(MARKER)
        if lane not in cut:
            assert shown == text
            assert MARKER not in text
    for lane in cut:
        assert any(MARKER in text for (number, _), text in said.items() if number == lane)


@given(st.sampled_from(["chat", "completions", "messages"]), values)
def test_no_event_of_an_upstream_is_more_than_an_error(kind: str, value: Any) -> None:
    from custodes.errors import ModelError

    asked = Asked(conversations=((Message("user", "?"),),), model="m")
    wire = {"chat": Chat(), "completions": Completions(), "messages": Messages()}[kind]
    for data in (value, {"choices": value}, {"choices": [value]}, {"delta": value}):
        reply: WireReply = wire.reply(asked, id_="1", created=1)
        try:
            for piece in reply.read("message", json.dumps(data)):
                reply.emit(piece, None)
        except ModelError:
            pass


@given(st.sampled_from([Chat(), Completions(), Messages()]), values, values)
def test_no_request_is_more_than_refused(wire: Any, value: Any, other: Any) -> None:
    from custodes.server.wire.base import RequestError

    turn = {"role": "user", "content": value}
    for body in (
        {"model": "m", "messages": value, "prompt": value, "n": other},
        {"model": "m", "messages": [turn], "system": other, "stream": other, "tools": value},
        {
            "model": value,
            "messages": [{"role": "assistant", "tool_calls": value}],
            "prompt": [other],
        },
    ):
        try:
            asked = wire.ask(body, allow_unjudged=False)
        except RequestError as error:
            assert error.status == 400
            continue
        assert asked.conversations
