import pytest

from custodes.errors import ModelRequestError, ModelServerError
from custodes.models import GenerateModel, Sampling, StreamModel
from custodes.models.anthropic import AnthropicModel
from custodes.types import Message

TALK = (
    Message("system", "Be brief."),
    Message("user", "Hello"),
    Message("assistant", "Hi."),
    Message("tool", "42"),
)


@pytest.fixture
def model(server, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant")
    with AnthropicModel(AnthropicModel.Config(model="m", base_url=server.url)) as made:
        yield made


def test_it_speaks_two_protocols(model) -> None:
    assert isinstance(model, GenerateModel) and isinstance(model, StreamModel)


def test_a_conversation_is_sent_and_the_reply_read(model, server, answered) -> None:
    server.answers = [
        answered(
            body={
                "content": [
                    {"type": "thinking", "thinking": "hm"},
                    {"type": "text", "text": "Forty"},
                    {"type": "text", "text": "-two."},
                ],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 5, "output_tokens": 4},
            }
        )
    ]
    sampling = Sampling(max_tokens=9, temperature=0.5, top_p=0.9, stop=("X",), seed=3)
    (reply,) = model.generate([TALK], sampling)
    assert (reply.text, reply.finish) == ("Forty-two.", "stop")
    assert (reply.prompt_tokens, reply.reply_tokens) == (5, 4)
    path, headers, body = server.asked[0]
    assert path == "/v1/messages"
    assert headers["x-api-key"] == "sk-ant" and headers["anthropic-version"] == "2023-06-01"
    assert body == {
        "model": "m",
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi."},
            {"role": "user", "content": "42"},
        ],
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_sequences": ["X"],
    }


def test_what_is_not_asked_for_is_not_sent(model, server, answered) -> None:
    server.answers = [answered(body={"content": []})]
    (reply,) = model.generate([(Message("user", "a \ud800"),)], Sampling())
    assert (reply.text, reply.finish, reply.reply_tokens) == ("", "stop", None)
    body = server.asked[0][2]
    assert set(body) == {"model", "messages", "max_tokens", "temperature"}
    assert body["messages"][0]["content"] == "a \ufffd"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("refusal", "refusal"),
        ("tool_use", "tool_calls"),
    ],
)
def test_why_a_reply_ended_is_translated(model, server, answered, reason, finish) -> None:
    server.answers = [answered(body={"content": [], "stop_reason": reason})]
    assert model.generate([TALK], Sampling())[0].finish == finish


def test_a_stream_is_read_however_it_is_cut(model, server, answered, sse) -> None:
    events = [
        {"type": "message_start", "message": {"content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
        {"type": "ping"},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hé"}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "llo 👋"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ]
    whole = b"".join(sse(event, event["type"]) for event in events)
    for size in (1, 11, 5000):
        chunks = tuple(whole[i : i + size] for i in range(0, len(whole), size))
        server.answers = [answered(chunks=chunks)]
        assert list(model.stream(TALK, Sampling())) == ["Hé", "llo 👋"]
    assert server.asked[0][2]["stream"] is True


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"type": "content_block_delta", "delta": {"text": "a"}}, "ended before"),
        ({"type": "error", "error": {"type": "overloaded_error"}}, "overloaded_error"),
        ({"no": "type"}, "expected type"),
        ("not json", "expected JSON"),
    ],
)
def test_a_broken_stream_is_the_servers_failure(model, server, answered, sse, data, said) -> None:
    server.answers = [answered(chunks=(sse(data),))]
    with pytest.raises(ModelServerError, match=said):
        list(model.stream(TALK, Sampling()))


def test_a_dropped_stream_is_not_asked_for_again(model, server, answered, sse) -> None:
    piece = sse({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "half"}})
    server.answers = [answered(chunks=(piece,), drop=True)]
    stream = model.stream(TALK, Sampling())
    assert next(stream) == "half"
    with pytest.raises(ModelServerError, match="broke amid"):
        next(stream)
    assert len(server.asked) == 1


def test_malformed_and_refused_answers_are_typed(model, server, answered) -> None:
    server.answers = [answered(body=b"{"), answered(400, {"error": {"message": "too long"}})]
    with pytest.raises(ModelServerError, match="expected JSON"):
        model.generate([TALK], Sampling())
    with pytest.raises(ModelRequestError, match="too long"):
        model.generate([TALK], Sampling())
