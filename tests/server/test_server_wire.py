"""Wire formats alone: what is judged, what is refused, what is malformed."""

import json

import pytest

from custodes.errors import ModelServerError
from custodes.models.sse import EventDecoder
from custodes.server.wire import decisions
from custodes.server.wire.anthropic import Messages
from custodes.server.wire.base import (
    Asked,
    MalformedReplyError,
    RequestError,
    Ruling,
    Told,
    strings,
)
from custodes.server.wire.completions import Completions
from custodes.server.wire.openai import Chat
from custodes.server.wire.sse import encode, encode_json
from custodes.types import Action, Message, Mode, RuleId, Verdict

STOP = Verdict(action=Action.STOP, mode=Mode.EXCHANGE, score=0.9, rule=RuleId("malware"))


def chat(*messages, **body):
    return Chat().ask({"model": "m", "messages": list(messages), **body}, allow_unjudged=False)


def claude(*messages, **body):
    return Messages().ask({"model": "m", "messages": list(messages), **body}, allow_unjudged=False)


def user(content):
    return {"role": "user", "content": content}


def reply(wire=None, **settings):
    asked = Asked(conversations=((Message("user", "12345678"),),), model="m", **settings)
    return (wire or Chat()).reply(asked, id_="1", created=2)


def read(value, wire=None, **settings):
    return reply(wire, **settings).read("message", json.dumps(value))


def chunk(delta=None, **choice):
    return {"choices": [{"index": 0, "delta": delta, **choice}]}


def decoded(data):
    return [json.loads(event.data) for event in EventDecoder().push(data) if event.data != "[DONE]"]


# Requests


def test_a_chats_turns_and_settings_are_read():
    asked = chat(
        {"role": "developer", "content": "be kind"},
        user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "name": "x"},
        {"role": "function", "content": None},
        stream=True,
        n=2,
        stop=["x", ""],
        max_completion_tokens=7,
        temperature=0.5,
        response_format={"type": "json_schema", "json_schema": {"name": "secret"}},
    )
    assert asked.conversations == (
        (
            Message("system", "be kind"),
            Message("user", "a\nb"),
            Message("assistant", "no\nx"),
            Message("tool", ""),
        ),
    )
    assert (asked.stream, asked.choices, asked.stop, asked.max_tokens) == (True, 2, ("x",), 7)
    assert asked.temperature == 0.5
    assert not asked.include_usage
    assert any("secret" in text for text in asked.extras)
    assert chat(user("a"), stop="x").stop == ("x",)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "a"}, "messages"),
        ({"messages": [7]}, "messages[0]"),
        ({"messages": [{"role": ["user"]}]}, "messages[0]"),
        ({"messages": [{"role": "villain"}]}, "messages[0]"),
        ({"messages": [user(7)]}, "messages[0].content"),
        ({"messages": [user([7])]}, "messages[0].content[0]"),
        ({"messages": [user([{"type": "image_url"}])]}, "messages[0].content[0]"),
        ({"messages": [user("a")], "model": None}, "model"),
        ({"messages": [user("a")], "model": 7}, "model"),
        ({"messages": [user("a")], "n": 0}, "n"),
        ({"messages": [user("a")], "n": 129}, "n"),
        ({"messages": [user("a")], "n": True}, "n"),
        ({"messages": [user("a")], "max_tokens": 0}, "max_tokens"),
        ({"messages": [user("a")], "stream": "yes"}, "stream"),
        ({"messages": [user("a")], "stop": [7]}, "stop"),
        ({"messages": [user("a")], "stop": 7}, "stop"),
        ({"messages": [user("a")], "temperature": "hot"}, "temperature"),
        ({"messages": [user("a")], "temperature": True}, "temperature"),
    ],
)
def test_a_chat_that_makes_no_sense_names_the_field(body, param):
    with pytest.raises(RequestError) as caught:
        Chat().ask({"model": "m", **body}, allow_unjudged=False)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([7], "messages[0]"),
        ([user(7)], "messages[0].content"),
        ([user([7])], "messages[0].content[0]"),
        ([user([{"type": []}])], "messages[0].content[0]"),
        ([user([{"type": "image", "source": {}}])], "messages[0].content[0]"),
        ([user([{"type": "document", "source": {"type": "base64"}}])], "messages[0].content[0]"),
        (
            [user([{"type": "tool_result", "content": [{"type": "image"}]}])],
            "messages[0].content[0][0]",
        ),
        ([user([{"type": "new", "inside": [{"type": "image"}]}])], "messages[0].content[0]"),
    ],
)
def test_a_message_that_cannot_be_judged_is_refused(messages, place):
    with pytest.raises(RequestError) as caught:
        claude(*messages)
    assert caught.value.param == place


def test_an_operator_may_let_pictures_through_unjudged():
    body = {"model": "m", "messages": [user([{"type": "image"}, {"type": "text", "text": "a"}])]}
    asked = Messages().ask(body, allow_unjudged=True)
    assert asked.conversations == ((Message("user", "a"),),)
    body = {"model": "m", "messages": [user([{"type": "image_url"}])]}
    assert Chat().ask(body, allow_unjudged=True).conversations == ((Message("user", ""),),)


def test_a_messages_blocks_are_read():
    asked = claude(
        user("a"),
        {
            "role": "assistant",
            "content": [
                {"type": "redacted_thinking", "data": "opaque"},
                {"type": "thinking", "thinking": "hm", "signature": "opaque"},
                {"type": "tool_use", "id": "opaque", "name": "f", "input": {"type": "image"}},
            ],
        },
        user([{"type": "tool_result", "content": {"type": "text", "text": "r"}}]),
        user(None),
        system=[{"type": "text", "text": "s"}],
        stop_sequences=["x"],
    )
    (turns,) = asked.conversations
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "tool", "user"]
    assert "opaque" not in turns[2].content
    assert "hm" in turns[2].content
    assert '{"type": "image"}' in turns[2].content
    assert turns[3].content == "r"


def test_completions_read_several_prompts():
    body = {"model": "m", "prompt": ["a", "b"], "suffix": "z", "n": 2}
    asked = Completions().ask(body, allow_unjudged=False)
    assert asked.choices == 4
    assert [turns[0].content for turns in asked.conversations] == ["a\nz", "b\nz"]


# Replies


@pytest.mark.parametrize(
    "value",
    [
        {"choices": 7},
        {"choices": [7]},
        {"choices": [{"index": 1}]},
        {"choices": [{"index": True}]},
        chunk("text"),
        [],
    ],
)
def test_a_chunk_of_another_shape_is_malformed(value):
    with pytest.raises(MalformedReplyError):
        read(value)


def test_an_error_in_the_stream_is_an_error():
    for wire, value in ((Chat(), {"error": {"message": "x"}}), (Messages(), {"type": "error"})):
        with pytest.raises(ModelServerError):
            read(value, wire)
    with pytest.raises(MalformedReplyError):
        reply().read("message", "{")


@pytest.mark.parametrize(
    ("value", "parts", "whole"),
    [
        (chunk({"content": "a"}), (("content", "a"),), False),
        (chunk({"content": ""}), (), True),
        (chunk({"role": "assistant"}), (), True),
        (chunk({"refusal": "a"}), (("refusal", "a"),), False),
        (chunk({"content": "a"}, finish_reason="stop"), (("content", "a"),), True),
        (chunk({"content": "a"}, logprobs={"content": []}), (("content", "a"),), True),
        (
            chunk({"content": "a", "reasoning": "b"}),
            (("reasoning", "b"), ("content", "a")),
            True,
        ),
        (chunk({"content": ["a", {"x": "b"}]}), (("other", "a"), ("other", "b")), True),
        (chunk({"unknown": {"deep": ["a"]}}), (("other", "a"),), True),
        (chunk({}, unknown="a"), (("other", "a"),), True),
        (chunk({}, text="a"), (("other", "a"),), True),
        (chunk({}, message={"content": "a"}), (("other", "a"),), True),
        (
            chunk({"function_call": {"name": "f", "arguments": "{"}}),
            (("other", "f"), ("other", "{")),
            True,
        ),
        (
            chunk(
                {
                    "tool_calls": [
                        {"index": 3, "id": "x", "function": {"name": "f", "arguments": "{"}}
                    ]
                }
            ),
            (("tool:3", "f"), ("tool:3", "{")),
            True,
        ),
        (chunk({"tool_calls": {"index": 0, "custom": {"input": "a"}}}), (("tool:0", "a"),), True),
        ({**chunk({"content": "a"}), "citations": ["b"]}, (("content", "a"), ("other", "b")), True),
        ({"choices": [], "citations": ["b"]}, (("other", "b"),), True),
    ],
)
def test_whatever_text_a_chunk_holds_is_judged(value, parts, whole):
    (piece,) = read(value)
    assert (piece.parts, piece.whole) == (parts, whole)


def test_a_chunk_of_several_choices_is_parted():
    two = [{"index": lane, "delta": {"content": str(lane)}} for lane in (1, 0)]
    translated = reply(choices_each=2)
    pieces = translated.read("message", json.dumps({"id": "x", "choices": two, "more": 1}))
    assert [piece.lane for piece in pieces] == [1, 0]
    (value,) = decoded(translated.emit(pieces[0], None))
    assert value == {"id": "x", "choices": [two[0]], "more": 1}


def test_a_piece_leaves_as_it_came_or_with_less_text():
    translated = reply()
    data = '{"choices": [ {"index":0,"delta":{"content":"abc"},"x":1.0} ]}'
    (piece,) = translated.read("message", data)
    assert translated.emit(piece, None) == f"data: {data}\n\n".encode()
    (value,) = decoded(translated.emit(piece, "a\ud800"))
    assert value["choices"] == [{"index": 0, "delta": {"content": "a\ud800"}, "x": 1.0}]


@pytest.mark.parametrize(
    ("wire", "value", "place"),
    [
        (
            Messages(),
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "abc"}},
            ("delta", "text"),
        ),
        (Completions(), {"choices": [{"index": 0, "text": "abc"}]}, ("choices", 0, "text")),
    ],
)
def test_in_every_format_a_piece_may_leave_with_less_text(wire, value, place):
    translated = reply(wire)
    (piece,) = translated.read("message", json.dumps(value))
    (found,) = decoded(translated.emit(piece, "a"))
    for step in place:
        found = found[step]
    assert found == "a"


def test_usage_that_never_came_is_estimated_and_marked():
    translated = reply(include_usage=True)
    translated.read("message", json.dumps(chunk({"content": "a"})))
    (value,) = decoded(translated.close())
    assert value["usage"] == {
        "prompt_tokens": 2,
        "completion_tokens": 1,
        "total_tokens": 3,
        "estimated": True,
    }
    usage = {"choices": [], "usage": {"total_tokens": 5}}
    (piece,) = translated.read("message", json.dumps(usage))
    assert decoded(translated.emit(piece, None)) == [usage]
    assert decoded(translated.close()) == []


def test_usage_that_came_before_the_cut_is_reported():
    translated = reply(include_usage=True)
    usage = {"total_tokens": 5}
    translated.read("message", json.dumps({**chunk({"content": "a"}), "usage": usage}))
    (value,) = decoded(translated.close())
    assert value["usage"] == usage


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (Chat(), {}),
        (Chat(), {"choices": [], "error": {"x": 1}}),
        (Chat(), {"choices": [{"index": 0}]}),
        (Completions(), {"choices": [{"index": 0, "text": 7}]}),
        (Messages(), {"content": "a"}),
        (Messages(), {"content": ["a"]}),
    ],
)
def test_a_whole_reply_of_another_shape_is_malformed(wire, body):
    with pytest.raises(MalformedReplyError):
        reply(wire).pieces(body)


def test_of_a_whole_reply_only_the_cut_choice_changes():
    translated = reply(choices_each=2)
    body = {
        "choices": [
            {"index": lane, "message": {"content": "ab", "audio": {"transcript": "t"}}, "x": 1}
            for lane in (0, 1)
        ],
        "citations": ["c"],
    }
    pieces = translated.pieces(body)
    assert [piece.parts for piece in pieces if piece.lane == 0] == [
        (("content", "ab"),),
        (("other", "t"),),
        (("other", "c"),),
        (),
    ]
    ruling = Ruling(verdict=STOP, logits={}, explain=True)
    rebuilt = translated.rebuild(body, {0: {"content": "a"}}, {0: ruling})
    assert rebuilt["choices"][1] == body["choices"][1]
    assert rebuilt["choices"][0]["message"]["content"] == "a"
    assert rebuilt["choices"][0]["finish_reason"] == "content_filter"
    assert "citations" not in rebuilt
    assert rebuilt["guard"]["rule"] == "malware"


@pytest.mark.parametrize(
    "value",
    [
        {"type": ["a"]},
        {"type": "a\nb"},
        {"type": "message_start"},
        {"type": "content_block_start"},
        {"type": "content_block_delta", "delta": "a"},
    ],
)
def test_an_event_of_another_shape_is_malformed(value):
    with pytest.raises(MalformedReplyError):
        read(value, Messages())


@pytest.mark.parametrize(
    ("value", "parts", "whole"),
    [
        (
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
            (("text", "a"),),
            False,
        ),
        (
            {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "a"}},
            (("thinking", "a"),),
            False,
        ),
        (
            {
                "type": "content_block_delta",
                "delta": {"type": "text_delta", "text": "a", "more": "b"},
            },
            (("text", "a"), ("other", "b")),
            True,
        ),
        (
            {
                "type": "content_block_delta",
                "index": 2,
                "delta": {"type": "input_json_delta", "partial_json": "{"},
            },
            (("tool:2", "{"),),
            True,
        ),
        (
            {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "s"}},
            (),
            True,
        ),
        (
            {"type": "content_block_delta", "delta": {"type": ["x"], "new": "a"}},
            (("other", "a"),),
            True,
        ),
        (
            {
                "type": "content_block_start",
                "index": 1,
                "content_block": {"type": "tool_use", "id": "i", "name": "f", "input": {}},
            },
            (("tool:1", "f"),),
            True,
        ),
        (
            {
                "type": "content_block_start",
                "index": 1,
                "content_block": {"type": "text", "text": "a", "citations": [{"cited_text": "b"}]},
            },
            (("text", "a"), ("other", "b")),
            True,
        ),
        (
            {
                "type": "content_block_start",
                "content_block": {"type": "web_search_tool_result", "content": [{"title": "a"}]},
            },
            (("other", "a"),),
            True,
        ),
        (
            {
                "type": "message_start",
                "message": {"content": [{"type": "text", "text": "a"}], "more": "b"},
            },
            (("text", "a"), ("other", "b")),
            True,
        ),
        (
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "more": "b"},
            (("other", "b"),),
            True,
        ),
        ({"type": "message_delta", "delta": None}, (), True),
        ({"type": "content_block_stop", "index": 0}, (), True),
        ({"type": "something_new", "text": "a"}, (("other", "a"),), True),
    ],
)
def test_whatever_text_an_event_holds_is_judged(value, parts, whole):
    (piece,) = read(value, Messages())
    assert (piece.parts, piece.whole) == (parts, whole)


def test_a_message_that_is_cut_counts_what_it_has_said():
    translated = reply(Messages())
    start = {"type": "message_start", "message": {"id": "x", "usage": {"output_tokens": 9}}}
    for value in (
        start,
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
    ):
        (piece,) = translated.read("message", json.dumps(value))
        translated.emit(piece, None)
    stopped, delta = decoded(translated.cut(0, Ruling(verdict=STOP, logits={})))
    assert stopped == {"type": "content_block_stop", "index": 0}
    assert delta["usage"] == {"output_tokens": 9}
    assert delta["delta"]["stop_details"]["category"] == "cyber"
    assert translated.rebuild({}, {}, {0: Ruling(verdict=STOP, logits={})})["content"] == []


def test_strings_finds_names_only_when_asked():
    value = {"a": ["b", {"c": "d", "e": ""}], "f": 1}
    assert list(strings(value)) == ["b", "d"]
    assert list(strings(value, names=True)) == ["a", "b", "c", "d", "e", "f"]
    assert list(strings(value, passed=frozenset({"a"}), names=True)) == ["f"]


def test_an_event_has_a_name_of_one_line_and_any_data():
    assert encode("a\r\nb\nc", "n") == b"event: n\ndata: a\ndata: b\ndata: c\n\n"
    with pytest.raises(ValueError, match="line end"):
        encode("a", "b\nc")
    (value,) = decoded(encode_json({"a": "\ud800"}))
    assert value == {"a": "\ud800"}


def test_a_question_of_equal_doubt_is_shared_evenly():
    question = decisions.Question(type="choice", name=None, instructions="", choices=("a", "b"))
    known = {"a": "a", "b": "b"}
    answer = decisions.answer(question, harm=0.0, rules={"a": 0.0, "b": 0.0}, known=known)
    assert [each["probability"] for each in answer["probabilities"]] == [0.5, 0.5]
    conversation, _, model = decisions.ask(
        {
            "input": [{"role": "user", "content": [{"type": "input_image"}]}],
            "questions": [{"type": "predicate", "instructions": "a"}],
        },
        allow_unjudged=True,
    )
    assert (conversation, model) == ((Message("user", ""),), "custodes")


def test_what_the_upstream_said_of_itself_is_kept_where_it_makes_sense():
    said = {"id": "x" * 200, "model": 7, "choices": [], "usage": {"prompt_tokens": True}}
    chatting = reply()
    assert chatting.told == Told()
    chatting.read("message", json.dumps(said))
    assert chatting.told == Told()
    chatting.read("message", json.dumps({**said, "id": "x" * 64, "usage": "much"}))
    assert chatting.told == Told(id="x" * 64)
    start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3}}}
    end = {"type": "message_delta", "delta": {"stop_reason": 1}, "usage": {"output_tokens": 4}}
    message = reply(Messages())
    for value in (start, end):
        message.read(value["type"], json.dumps(value))
    assert message.told == Told(id="m", input_tokens=3, output_tokens=4)
