"""Whatever text a request or a reply holds is judged, in whichever field it stands."""

import json

import pytest

from custodes.server.wire.anthropic import Messages
from custodes.server.wire.base import Asked, RequestError
from custodes.server.wire.completions import Completions
from custodes.server.wire.labels import texts, unlabelled
from custodes.server.wire.openai import Chat

SAID = "tell me all of it"
CALL_ID = "call_9aFq3LxT0bQdYp7sVwZk2mRn"


def asked(wire, body):
    return wire.ask({"model": "m", "max_tokens": 5, **body}, allow_unjudged=False)


def said(wire, *turns):
    """Everything that is judged of a conversation."""
    (conversation,) = asked(wire, {"messages": list(turns)}).conversations
    return conversation


def calling(arguments="{}", **call):
    function = {"name": "write", "arguments": arguments}
    made = {"id": CALL_ID, "type": "function", "function": function, **call}
    return {"role": "assistant", "content": None, "tool_calls": [made]}


@pytest.mark.parametrize(
    "turn",
    [
        calling({"path": "x", "content": SAID}),
        calling({"path": "x", "type": SAID}),
        calling({"deep": [{"id": SAID}]}),
        calling({SAID: 1}),
        calling(json.dumps({"content": SAID})),
        calling(id=SAID),
        calling(type=SAID),
        calling(**{SAID: 1}),
        {"role": "tool", "tool_call_id": SAID, "content": "done"},
        {"role": "tool", "tool_call_id": "tell-me-how-to-bake-it-all", "content": "done"},
        {"role": "tool", "tool_call_id": "TellHowBakeAllFromYouNow", "content": "done"},
        {"role": "tool", "tool_call_id": "x" * 65, "content": "done"},
        {"role": "user", "content": "hi", "cache_control": {"x": SAID}},
        {"role": "user", "content": "hi", "cache_control": {SAID: "x"}},
        {"role": "user", "content": "hi", "name": SAID},
        {"role": "user", "content": "hi", SAID: 1},
        {"role": "user", "content": [{"type": "text", "text": "hi", "title": SAID}]},
    ],
)
def test_a_chats_turn_is_judged_whole(turn):
    (message,) = said(Chat(), turn)
    wanted = turn.get("tool_call_id", SAID)
    assert wanted in message.content


def test_labels_of_a_chat_add_nothing():
    first, second, third = said(
        Chat(),
        {"role": "user", "content": "hi", "cache_control": {"type": "ephemeral", "ttl": "5m"}},
        calling('{"path": "x"}'),
        {"role": "tool", "tool_call_id": CALL_ID, "content": [{"type": "text", "text": "done"}]},
    )
    assert first.content == "hi"
    assert second.content == 'write\n{"path": "x"}'
    assert third.content == "done"


@pytest.mark.parametrize("role", ["user", "assistant"])
@pytest.mark.parametrize(
    "block",
    [
        {"type": "search_result", "source": "x", "title": SAID, "content": []},
        {"type": "search_result", "source": SAID, "title": "x", "content": []},
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok", "text": SAID},
        {"type": "tool_result", "tool_use_id": SAID, "content": "ok"},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": SAID}]},
        {"type": "tool_use", "id": "t", "name": "n", "input": {SAID: {"id": 1}}},
        {"type": "text", "text": "hi", "id": SAID},
        {"type": "text", "text": "hi", "cache_control": {"type": SAID}},
        {"type": "thinking", "thinking": "x", "signature": SAID},
        {"type": "redacted_thinking", "data": SAID},
        {"type": "document", "source": {"type": "text", "data": "x"}, "title": SAID},
    ],
)
def test_a_message_is_judged_whole(role, block):
    conversation = said(Messages(), {"role": role, "content": [block]})
    assert SAID in "\n".join(turn.content for turn in conversation)
    of_tool = block["type"] == "tool_result"
    assert {turn.role for turn in conversation} == {"tool" if of_tool else role}


def test_labels_of_a_message_add_nothing():
    signature = "QUJDREVGR0g=" * 12
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": signature},
        {"type": "redacted_thinking", "data": signature},
        {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
        {"type": "tool_use", "id": "toolu_01A09q90qw90lq917835lq9", "name": "n", "input": {}},
    ]
    (turn,) = said(Messages(), {"role": "assistant", "content": blocks})
    assert turn.content == "hm\nhi\nn"


def test_a_turn_says_what_stands_beside_its_content():
    (turn,) = said(Messages(), {"role": "user", "content": "hi", "extra": SAID})
    assert turn.content == f"hi\nextra\n{SAID}"
    result = {"type": "tool_result", "tool_use_id": "t", "content": "ok"}
    tool, user = said(Messages(), {"role": "user", "content": [result], "extra": SAID})
    assert (tool.content, user.content) == ("ok", f"extra\n{SAID}")
    (alone,) = said(Messages(), {"role": "user", "content": [result]})
    assert alone.role == "tool"


@pytest.mark.parametrize("wire", [Chat(), Completions()])
@pytest.mark.parametrize("name", ["return_token_ids", "return_tokens_as_token_ids"])
def test_token_numbers_are_not_asked_for(wire, name):
    body = {"prompt": "x", "messages": [{"role": "user", "content": "x"}], name: True}
    with pytest.raises(RequestError, match=f"{name}: a part of type 'token numbers'"):
        asked(wire, body)
    assert asked(wire, {**body, name: False})
    assert wire.ask({"model": "m", **body}, allow_unjudged=True)


def test_an_ending_is_text_and_replies_are_few():
    with pytest.raises(RequestError, match="suffix"):
        asked(Completions(), {"prompt": "x", "suffix": [SAID]})
    ((turn,),) = asked(Completions(), {"prompt": "x", "suffix": SAID}).conversations
    assert turn.content == f"x\n{SAID}"
    with pytest.raises(RequestError, match="65 prompts with 2 replies each, expected at most 128"):
        asked(Completions(), {"prompt": ["x"] * 65, "n": 2})
    assert asked(Completions(), {"prompt": ["x"] * 64, "n": 2}).choices == 128


def test_a_temperature_is_a_number_that_json_knows():
    with pytest.raises(RequestError, match="temperature: got inf"):
        asked(Chat(), {"messages": [{"role": "user", "content": "x"}], "temperature": 1e999})


# Replies

REPLY = Asked(conversations=((),), model="m")


def chat_piece(choice, **around):
    chunk = {"id": "1", "choices": [{"index": 0, **choice}], **around}
    (piece,) = Chat().reply(REPLY, id_="1", created=0).read("", json.dumps(chunk))
    return piece


SAFE = {"hate": {"filtered": False, "severity": "safe"}}


@pytest.mark.parametrize(
    ("choice", "around"),
    [
        ({"delta": {"content": "x"}, "content_filter_results": SAFE}, {}),
        ({"delta": {"content": "x", "role": "assistant"}}, {"usage": {"service_tier": "default"}}),
        ({"delta": {"content": "x"}}, {"prompt_filter_results": [SAFE]}),
        ({"delta": {"content": "x", "new": None}, "flag": True}, {}),
    ],
)
def test_ratings_are_no_text(choice, around):
    piece = chat_piece(choice, **around)
    assert (piece.parts, piece.whole) == ((("content", "x"),), False)


@pytest.mark.parametrize(
    ("choice", "around"),
    [
        ({"delta": {}, "content_filter_results": {"hate": SAID}}, {}),
        ({"delta": {"role": SAID}}, {}),
        ({"delta": {"tool_calls": [{"index": 0, "id": SAID}]}}, {}),
        ({"delta": {"tool_calls": [SAID]}}, {}),
        ({"delta": {}}, {"usage": {"x": SAID}}),
        ({"delta": {}}, {"usage": {SAID: 1}}),
        ({"delta": {}, "logprobs": {"content": [{"token": SAID}, {"token": None}, 3]}}, {}),
        ({"delta": {}, "logprobs": {"refusal": [{"token": SAID}]}}, {}),
    ],
)
def test_what_a_chunk_says_elsewhere_is_judged(choice, around):
    piece = chat_piece(choice, **around)
    assert SAID in "".join(text for _, text in piece.parts)
    assert piece.whole


@pytest.mark.parametrize(
    "choice",
    [
        {"delta": {"content": "x"}, "token_ids": [1]},
        {"delta": {"content": "x", "token_ids": [1]}},
        {"delta": {"content": "x"}, "token_id": 1},
        {"delta": {"content": "x"}, "logprobs": {"content": [{"token": "x"}]}},
    ],
)
def test_what_goes_with_a_text_leaves_with_all_of_it(choice):
    piece = chat_piece(choice)
    assert (piece.parts, piece.whole) == ((("content", "x"),), True)


def test_tokens_of_a_completion_that_says_nothing_are_judged():
    choice = {"index": 0, "text": "", "logprobs": {"tokens": [SAID]}}
    reply = Completions().reply(REPLY, id_="1", created=0)
    (piece,) = reply.read("", json.dumps({"choices": [choice]}))
    assert piece.parts == (("other", SAID),)
    (whole, _) = reply.pieces({"choices": [choice]})
    assert whole.parts == (("other", SAID),)
    (spoken,) = reply.read("", json.dumps({"choices": [{"index": 0, "text": "x", "ids": [1]}]}))
    assert spoken.whole


@pytest.mark.parametrize(
    "body",
    [
        {"content": [], "extra": SAID},
        {"content": [], "usage": {"x": SAID}},
    ],
)
def test_a_whole_message_is_judged_beside_its_content(body):
    pieces = Messages().reply(REPLY, id_="1", created=0).pieces(body)
    assert [part for piece in pieces for part in piece.parts] == [("other", SAID)]


def test_an_event_is_judged_beside_its_delta():
    event = {
        "type": "content_block_delta", "index": 0, "beside": SAID,
        "delta": {"type": "text_delta", "text": "x"},
    }  # fmt: skip
    (piece,) = Messages().reply(REPLY, id_="1", created=0).read("", json.dumps(event))
    assert piece.parts == (("text", "x"), ("other", SAID))
    assert piece.whole


def test_labels_are_told_by_what_they_are():
    value = {"id": "a-b", "kind": "two words", "sealed": "QUJD", "text": "", "rest": [1, None]}
    given = {"labels": frozenset(["id", "kind"]), "sealed": frozenset(["sealed"])}
    assert list(texts(value, **given, known=frozenset(["text", "rest"]))) == ["two words"]
    assert list(texts({"sealed": "no seal"}, **given)) == ["no seal"]
    assert list(texts({"new": "x"}, **given)) == ["new", "x"]
    assert unlabelled(None) == []
    assert unlabelled({"severity": "safe", "why": "it says so"}) == ["it says so"]
