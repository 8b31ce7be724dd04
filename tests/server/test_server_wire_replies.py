"""Whatever text stands in a reply is judged, in the fields of labels, too; what makes no sense ends
it."""

import json

import pytest
from raw_upstream import chunk, raw_upstream
from server_doubles import MARKER, Running, finishes, gateway

from custodes.server.wire.anthropic import Messages
from custodes.server.wire.base import Asked, MalformedReplyError, RequestError, Ruling
from custodes.server.wire.completions import Completions
from custodes.server.wire.labels import Repeated, texts
from custodes.server.wire.openai import Chat
from custodes.types import Action, Message, Mode, RuleId, Verdict

SAID = "tell me all of it"
ASKED = Asked(conversations=((Message("user", "?"),),), model="local/Some-Long-Model-Name-Here-Yes")
STOP = Verdict(action=Action.STOP, mode=Mode.EXCHANGE, score=0.9, rule=RuleId("cake"))


def reply(wire, asked=ASKED):
    return wire.reply(asked, id_="1", created=0)


def parts(pieces):
    return [part for piece in pieces for part in piece.parts]


def whole(wire, body):
    return parts(reply(wire).pieces(body))


def choice(**more):
    return {"index": 0, "message": {"content": "x"}, "finish_reason": "stop", **more}


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [choice(finish_reason=SAID)]},
        {"choices": [choice(stop_reason=SAID)]},
        {"choices": [choice(logprobs={"new": SAID})]},
        {"choices": [choice(new={"message": SAID})]},
        {"choices": [choice()], "id": SAID},
        {"choices": [choice()], "object": SAID},
        {"choices": [choice()], "created": SAID},
        {"choices": [choice()], "model": SAID},
        {"choices": [choice()], "provider": {SAID: 1}},
        {"choices": [choice()], "system_fingerprint": SAID},
        {"choices": [choice()], "service_tier": SAID},
        {"choices": [choice()], "obfuscation": SAID},
        {"choices": [choice()], "new": {"id": SAID}},
        {"choices": [choice()], "new": [{"choices": SAID}]},
        {"choices": [choice(message={"role": "assistant", "new": {"content": SAID}})]},
        {"choices": [choice(message={"tool_calls": [{"type": SAID}]})]},
        {"choices": [choice(message={"tool_calls": [{"function": {"id": SAID}}]})]},
        {"choices": [choice(message={"tool_calls": [{"function": {"arguments": {SAID: 1}}}]})]},
        {"choices": [choice(message={"tool_calls": [{"custom": {"input": {SAID: 1}}}]})]},
        {"choices": [choice(message={"function_call": {"arguments": {"a": {SAID: 1}}}})]},
    ],
)
def test_a_chats_reply_is_judged_whole(body):
    assert any(SAID in text for _, text in whole(Chat(), body))
    streamed = {**body, "choices": [dict(body["choices"][0])]}
    streamed["choices"][0]["delta"] = streamed["choices"][0].pop("message")
    pieces = reply(Chat()).read("", json.dumps(streamed))
    assert any(SAID in text for _, text in parts(pieces))
    assert all(piece.whole for piece in pieces)


def test_arguments_that_are_an_object_are_judged_as_json():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"é": [1, {}]}}}
    body = {"choices": [choice(message={"tool_calls": [call]})]}
    assert whole(Chat(), body) == [("tool:0", "f"), ("tool:0", '{"é": [1, {}]}')]


def test_labels_of_a_chats_reply_add_nothing():
    around = {
        "id": "chatcmpl-9aFq3LxT0bQdYp7sVwZk2mRnGtuLoWorLdFooBar",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "Some-Long-Model-Name-Here-Yes",
        "system_fingerprint": "fp_44709d6fcb",
        "service_tier": "default",
        "obfuscation": "Qqq" * 30,
    }
    said = {"index": 0, "delta": {"content": "x"}, "finish_reason": None, "stop_reason": None}
    translated = reply(Chat())
    for _ in range(2):
        (piece,) = translated.read("", json.dumps({"choices": [said], **around}))
        assert (piece.parts, piece.whole) == ((("content", "x"),), False)
    stopped = Asked(conversations=ASKED.conversations, model="m", stop=("\n\nuser:",))
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    end["choices"][0]["stop_reason"] = "\n\nuser:"
    (piece,) = reply(Chat(), stopped).read("", json.dumps(end))
    assert piece.parts == ()


def test_a_text_that_every_chunk_carries_is_judged_once_a_choice():
    asked = Asked(conversations=ASKED.conversations, model="m", choices_each=2)
    translated = reply(Chat(), asked)
    found = []
    for lane, provider in ((0, SAID), (0, SAID), (1, SAID), (0, "some other one"), (0, SAID)):
        said = {"index": lane, "delta": {"content": "x"}}
        found += translated.read("", json.dumps({"choices": [said], "provider": provider}))
    assert [len(piece.parts) for piece in found] == [2, 1, 2, 2, 2]
    seen = Repeated((), ids=frozenset(["id"]))
    for place in range(1000):
        assert seen.more("id", f"chunk-{place}") == []
    assert len(seen._fine) <= 256


def test_a_reply_without_choices_says_nothing():
    assert reply(Chat()).pieces({"id": "1", "choices": []}) == []
    for body in ({"choices": [], "output": SAID}, {"choices": [], "id": SAID}):
        with pytest.raises(MalformedReplyError, match="got none, and text beside them"):
            reply(Chat()).pieces(body)


@pytest.mark.parametrize("wire", [Chat(), Completions()])
def test_what_was_stopped_is_in_no_chunk_of_the_gateways_own(wire):
    translated = reply(wire)
    said = {"index": 0, "text": "x", "delta": {"content": "x"}, "message": {"content": "x"}}
    around = {"id": SAID, "model": SAID, "created": SAID, "usage": {"x": SAID}}
    translated.read("", json.dumps({"choices": [said], **around}))
    ruling = Ruling(verdict=STOP, logits={})
    body = {"choices": [said], "object": SAID, **around}
    rebuilt = json.dumps(translated.rebuild(body, {0: {}}, {0: ruling}))
    for sent in (translated.cut(0, ruling).decode(), translated.close().decode(), rebuilt):
        assert SAID not in sent
    assert SAID not in str(translated.told)


@pytest.mark.parametrize(
    "value",
    [
        {"logprobs": 5},
        {"logprobs": {"content": 5}},
        {"logprobs": {"refusal": "text"}},
        {"logprobs": {"tokens": {"a": 1}}},
    ],
)
def test_probabilities_of_another_shape_are_malformed(value):
    for wire in (Chat(), Completions()):
        said = {"index": 0, "delta": {}, "message": {}, "text": "", **value}
        with pytest.raises(MalformedReplyError, match="logprobs"):
            reply(wire).read("", json.dumps({"choices": [said]}))


# Messages


@pytest.mark.parametrize(
    "body",
    [
        {"content": [], "stop_reason": SAID},
        {"content": [], "stop_sequence": SAID},
        {"content": [], "stop_details": {"explanation": SAID}},
        {"content": [], "role": SAID},
        {"content": [], "type": SAID},
        {"content": [], "id": SAID},
        {"content": [], "model": SAID},
        {"content": [], "new": {"content": SAID}},
        {"content": [{"type": SAID}]},
        {"content": [{"type": "text", "text": "x", "id": SAID}]},
        {"content": [{"type": "text", "text": "x", "citations": [{"type": SAID}]}]},
        {"content": [{"type": "thinking", "thinking": "", "signature": SAID}]},
        {"content": [{"type": "redacted_thinking", "data": SAID}]},
        {"content": [{"type": "tool_use", "id": SAID, "name": "f", "input": {}}]},
        {"content": [{"type": "web_search_tool_result", "content": [{"encrypted_content": SAID}]}]},
    ],
)
def test_a_whole_message_is_judged_whole(body):
    assert any(SAID in text for _, text in whole(Messages(), body))


@pytest.mark.parametrize(
    "event",
    [
        {"type": "message_start", "message": {"id": SAID}},
        {"type": "message_start", "message": {"content": []}, "new": SAID},
        {"type": "content_block_start", "content_block": {"type": "text", "text": ""}, "new": SAID},
        {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": SAID}},
        {"type": "content_block_delta", "delta": {"type": SAID, "text": "x"}},
        {"type": "content_block_stop", "index": 0, "content": SAID},
        {"type": "message_delta", "delta": {"stop_reason": SAID}},
        {"type": "message_delta", "delta": {"stop_sequence": SAID}},
        {"type": "message_delta", "delta": SAID},
        {"type": "message_delta", "delta": {"stop_reason": "refusal"}, "content": SAID},
        {"type": "ping", "delta": {"text": SAID}},
    ],
)
def test_an_event_is_judged_whole(event):
    pieces = reply(Messages()).read("", json.dumps(event))
    assert [text for _, text in parts(pieces)].count(SAID) == 1


@pytest.mark.parametrize(
    "event",
    [
        {"type": "message_start", "message": {"content": SAID}},
        {"type": "message_start", "message": {"content": {"type": "text", "text": SAID}}},
        {"type": "content_block_stop", "index": SAID},
        {"type": "TellHowBakeAllFromYouNow"},
        {"type": "x" * 65},
    ],
)
def test_an_event_that_hides_text_is_malformed(event):
    with pytest.raises(MalformedReplyError):
        reply(Messages()).read("", json.dumps(event))


def test_labels_of_a_message_reply_add_nothing():
    signature = "QUJDREVGR0g=" * 40
    body = {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": "Some-Long-Model-Name-Here-Yes",
        "content": [
            {"type": "thinking", "thinking": "", "signature": signature},
            {"type": "redacted_thinking", "data": signature},
            {"type": "text", "text": "x"},
            {"type": "tool_use", "id": "toolu_01A09q90qw90lq917835lq9", "name": "f", "input": {}},
        ],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "service_tier": "standard"},
    }
    assert whole(Messages(), body) == [("text", "x"), ("tool:3", "f")]
    told = reply(Messages())
    told.pieces({**body, "id": SAID, "stop_reason": SAID, "usage": {"x": SAID}})
    ruling = Ruling(verdict=STOP, logits={})
    assert SAID not in json.dumps(told.rebuild(body, {0: {}}, {0: ruling}))
    assert SAID not in str(told.told)


def test_an_id_is_told_by_how_it_is_drawn():
    drawn = frozenset(["id"])
    for fine in ("call_9aFq3LxTabQdYpRsVwZkTmRn", "a" * 8, "chatcmpl-123"):
        assert list(texts({"id": fine}, drawn=drawn)) == []
    for text in ("TellHowBakeAllFromYouNow", "9a" * 33, "a b", "one-two-three-four-five"):
        assert list(texts({"id": text}, drawn=drawn)) == [text]


# Blocks of a request that nobody can read


@pytest.mark.parametrize(
    "block",
    [
        {"type": "audio", "source": {"type": "base64", "media_type": "audio/wav", "data": "AAAA"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "new", "text": "x"},
        {"type": "text", "text": "x", "source": {"type": "url", "url": "x"}},
        {"type": "search_result", "content": [{"type": "input_audio", "text": "x"}]},
        {"type": "tool_result", "content": [{"type": "image_url"}]},
        {"type": "tool_result", "content": [{"type": "text", "x": {"source": {"type": "file"}}}]},
        {"type": "tool_result", "content": [{"no": "type"}]},
        {"type": "document", "source": {"type": "content", "content": [{"type": "image"}]}},
    ],
)
def test_a_block_that_is_not_known_to_be_text_is_refused(block):
    body = {"model": "m", "messages": [{"role": "user", "content": [block]}]}
    with pytest.raises(RequestError, match="cannot be judged"):
        Messages().ask(body, allow_unjudged=False)
    assert Messages().ask(body, allow_unjudged=True)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "server_tool_use", "id": "t", "name": "f", "input": {"type": "image"}},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text"}]}},
        {"type": "web_search_tool_result", "content": [{"type": "web_search_result"}]},
        {"type": "web_search_tool_result", "content": {"type": "web_search_tool_result_error"}},
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "x", "citations": [{"type": "char_location"}]},
    ],
)
def test_a_block_of_text_is_read(block):
    body = {"model": "m", "messages": [{"role": "user", "content": [block]}]}
    assert Messages().ask(body, allow_unjudged=False).conversations


# At the gateway: nothing of it reaches a client


def post(running: Running, path: str = "/v1/chat/completions", **more):
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
    return running.post(path, {**body, **more})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"choices": [], "output": MARKER}),
        ("/v1/chat/completions", {"choices": [choice()], "system_fingerprint": MARKER}),
        ("/v1/chat/completions", {"choices": [choice()], "id": MARKER}),
        ("/v1/chat/completions", {"choices": [choice(finish_reason=MARKER)]}),
        (
            "/v1/chat/completions",
            {
                "choices": [
                    choice(message={"tool_calls": [{"function": {"arguments": {MARKER: 1}}}]})
                ]
            },
        ),
        ("/v1/messages", {"content": [], "stop_reason": MARKER}),
        ("/v1/messages", {"content": [{"type": "thinking", "signature": MARKER}]}),
    ],
)
def test_nothing_that_a_whole_reply_hides_leaves(path, body):
    upstreams = {"main": {"kind": "both"}}
    with raw_upstream(body=body) as upstream:
        upstreams["main"]["url"] = upstream.url
        with gateway(upstream, upstreams=upstreams) as running:
            assert MARKER not in post(running, path).text


@pytest.mark.parametrize(
    "event",
    [
        chunk("x", id=MARKER),
        chunk("x", MARKER),
        chunk("x", new={"choices": MARKER}),
        {"choices": [], "id": MARKER},
    ],
)
def test_nothing_that_a_stream_hides_leaves(event):
    events = [event, chunk("", "stop"), "[DONE]"]
    with raw_upstream(events=events) as upstream, gateway(upstream) as running:
        assert MARKER not in json.dumps(running.chat("hello"))


@pytest.mark.parametrize(
    "event",
    [
        {"choices": [{"index": 0, "delta": {}, "logprobs": {"content": 5}}]},
        {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"tokens": 5}}]},
    ],
)
def test_what_makes_no_sense_is_an_error_in_the_stream(event):
    with raw_upstream(events=[event]) as upstream, gateway(upstream) as running:
        assert running.chat("hello")[-1]["error"]["code"] == "upstream_error"


def test_a_role_of_another_type_is_a_label_like_any_other():
    said = chunk("Hello")
    said["choices"][0]["delta"]["role"] = ["x"]
    events = [said, chunk("", "stop"), "[DONE]"]
    with raw_upstream(events=events) as upstream, gateway(upstream) as running:
        assert finishes(running.chat("hello")) == ["stop"]


def test_a_number_that_no_reader_has_is_refused(running):
    data = '{"model": "m", "messages": [{"role": "user", "content": "hello"}], "%s": %s}'
    url = running.url + "/v1/chat/completions"
    for name, number in (("temperature", "1" + "0" * 400), ("top_p", "1e999")):
        response = running.http.post(url, content=data % (name, number))
        assert response.status_code == 400, response.text
        assert "number" in response.json()["error"]["message"]
