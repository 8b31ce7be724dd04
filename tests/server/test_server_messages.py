"""Anthropic's messages and OpenAI's text completions through a real gateway."""

import json

import pytest
from server_doubles import MARKER

from custodes.server.scripted import Script

BEFORE = "Here is the "


def ask(running, script, **body):
    text = script if isinstance(script, str) else script.prompt()
    request = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": text}]}
    return running.events("/v1/messages", {**request, "stream": True, **body})


def values(events):
    return [json.loads(event.data) for event in events]


def deltas(events, field):
    return "".join(
        value["delta"].get(field, "")
        for value in values(events)
        if value["type"] == "content_block_delta"
    )


def reason(events):
    (found,) = [v["delta"] for v in values(events) if v["type"] == "message_delta"]
    return found["stop_reason"]


def test_a_benign_message_goes_through_untouched(running):
    events = ask(running, Script(pieces=("Hello", " there")))
    assert deltas(events, "text") == "Hello there"
    assert [event.name for event in events] == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert reason(events) == "end_turn"


def test_wherever_the_harm_is_split_nothing_of_it_leaves(running):
    for position in range(len(MARKER) + 1):
        pieces = (BEFORE, MARKER[:position], MARKER[position:], " and more")
        events = ask(running, Script(pieces=tuple(piece for piece in pieces if piece)))
        assert deltas(events, "text") == BEFORE
        assert [event.name for event in events][-3:] == [
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        assert reason(events) == "refusal"


def test_every_byte_a_chunk(running):
    pieces = ("Ünï", "cödé 🎂", " end")
    assert deltas(ask(running, Script(pieces=pieces, chunk=1)), "text") == "".join(pieces)
    harm = Script(pieces=(BEFORE, MARKER), chunk=1)
    assert deltas(ask(running, harm), "text") == BEFORE


@pytest.mark.parametrize(
    ("channel", "field"), [("reasoning", "thinking"), ("tool", "partial_json")]
)
def test_thinking_and_tool_input_are_judged(running, channel, field):
    pieces = ('{"a": "b', ' c"}')
    events = ask(running, Script(channel=channel, before=("Well. ",), pieces=pieces))
    assert deltas(events, "text") == "Well. "
    assert deltas(events, field) == "".join(pieces)
    harm = Script(channel=channel, before=("Well. ",), pieces=("{", MARKER, " is"))
    events = ask(running, harm)
    assert deltas(events, "text") == "Well. "
    assert "cake" not in deltas(events, field)
    assert reason(events) == "refusal"
    names = [event.name for event in events]
    assert names.count("content_block_start") == names.count("content_block_stop")


def test_harmful_input_gives_a_refusal_of_the_right_form(running):
    asked = len(running.upstream.asked)
    events = ask(running, f"a {MARKER}, please")
    assert [event.name for event in events] == ["message_start", "message_delta", "message_stop"]
    delta = values(events)[1]["delta"]
    assert delta["stop_reason"] == "refusal"
    assert delta["stop_details"]["category"] == "general_harms"
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": MARKER}]}
    reply = running.post("/v1/messages", body).json()
    assert (reply["stop_reason"], reply["content"]) == ("refusal", [])
    assert len(running.upstream.asked) == asked


@pytest.mark.parametrize(
    "body",
    [
        {"system": MARKER},
        {"system": [{"type": "text", "text": MARKER}]},
        {"tools": [{"name": "f", "description": MARKER, "input_schema": {}}]},
        {
            "messages": [
                {"role": "user", "content": "a"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {MARKER: 1}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1"}]},
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "1",
                            "content": [{"type": "text", "text": MARKER}],
                        },
                        {"type": "text", "text": "and?"},
                    ],
                }
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "document",
                            "source": {"type": "text", "media_type": "text/plain", "data": MARKER},
                        }
                    ],
                }
            ]
        },
    ],
)
def test_all_that_goes_into_the_model_is_judged(running, body):
    request = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "a"}]}
    reply = running.post("/v1/messages", {**request, **body})
    assert reply.json()["stop_reason"] == "refusal"


def test_whole_messages_are_let_through_or_cut(running):
    request = {"model": "m", "max_tokens": 5}
    for pieces, channel, text, why in (
        (("a", "b"), "content", "ab", "end_turn"),
        ((BEFORE, MARKER, "!"), "content", BEFORE, "refusal"),
        ((MARKER,), "tool", None, "refusal"),
        ((MARKER,), "reasoning", None, "refusal"),
    ):
        script = Script(pieces=pieces, channel=channel)
        messages = [{"role": "user", "content": script.prompt()}]
        reply = running.post("/v1/messages", {**request, "messages": messages}).json()
        assert [block["text"] for block in reply["content"]] == ([text] if text else [])
        assert reply["stop_reason"] == why
        assert MARKER not in json.dumps(reply)


@pytest.mark.parametrize("fault", ["drop", "end", "garbage", "error", "shape"])
def test_an_upstream_that_breaks_leaks_nothing(running, fault):
    script = Script(pieces=(BEFORE, MARKER[:-1], " " * 20), fault=fault, fault_at=2)
    events = ask(running, script)
    assert events[-1].name == "error"
    assert values(events)[-1]["error"]["type"] == "api_error"
    assert BEFORE.startswith(deltas(events, "text"))


def test_whoever_may_ask_is_told_why(running):
    headers = {"custodes-explain": "1"}
    request = {"model": "m", "max_tokens": 5, "stream": True}
    for pieces, action in (((MARKER,), "stop"), (("a",), "release")):
        messages = [{"role": "user", "content": Script(pieces=pieces).prompt()}]
        events = running.events("/v1/messages", {**request, "messages": messages}, headers=headers)
        (told,) = [value["guard"] for value in values(events) if "guard" in value]
        assert told["action"] == action


def test_the_clients_version_reaches_the_upstream_and_its_key_does_not(running):
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "x", "x-api-key": "mine"}
    messages = [{"role": "user", "content": "hello"}]
    body = {"model": "m", "max_tokens": 5, "messages": messages}
    assert running.post("/v1/messages", body, headers=headers).status_code == 200
    _, _, seen = running.upstream.asked[-1]
    assert (seen["anthropic-version"], seen["anthropic-beta"]) == ("2023-06-01", "x")
    assert "x-api-key" not in seen


def complete(running, script, **body):
    request = {"model": "m", "prompt": script.prompt(), "stream": True, **body}
    events = running.events("/v1/completions", request)
    return [json.loads(event.data) for event in events if event.data != "[DONE]"]


def test_completions_are_let_through_or_cut(running):
    chunks = complete(running, Script(pieces=("a", "b")))
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "ab"
    chunks = complete(running, Script(pieces=(BEFORE, MARKER[:5], MARKER[5:], "!")))
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == BEFORE
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter"
    body = {"model": "m", "prompt": [Script(pieces=(BEFORE, MARKER)).prompt(), "b"]}
    reply = running.post("/v1/completions", body).json()
    assert [choice["text"] for choice in reply["choices"]] == [BEFORE, BEFORE]
    reply = running.post("/v1/completions", {**body, "prompt": ["fine", MARKER]}).json()
    assert [choice["finish_reason"] for choice in reply["choices"]] == ["content_filter"] * 2


def test_token_numbers_cannot_be_judged(running):
    response = running.post("/v1/completions", {"model": "m", "prompt": [[1, 2, 3]]})
    assert response.status_code == 400
    assert "token numbers" in response.json()["error"]["message"]
