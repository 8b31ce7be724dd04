import numpy as np
import pytest

from custodes.errors import ConfigError, ModelRequestError, ModelServerError
from custodes.models import GenerateModel, LogProbabilityModel, Sampling, StreamModel
from custodes.models.base import Ending
from custodes.models.openai import OpenAIModel
from custodes.types import Message

TALK = (
    Message("system", "Be brief."),
    Message("user", "Hello \ud800"),
    Message("assistant", "Hi."),
    Message("user", "日本?"),
)


@pytest.fixture
def model(server):
    config = OpenAIModel.Config(model="m", base_url=f"{server.url}/", api_key_env=None)
    with OpenAIModel(config) as made:
        yield made


def test_it_speaks_three_protocols(model) -> None:
    for protocol in (GenerateModel, StreamModel, LogProbabilityModel):
        assert isinstance(model, protocol)


def test_a_conversation_is_sent_and_the_reply_read(model, server, answered) -> None:
    server.answers = [
        answered(
            body={
                "choices": [{"message": {"content": "Yes."}, "finish_reason": "length"}],
                "usage": {"prompt_tokens": 11, "completion_tokens": 2},
            }
        )
    ]
    sampling = Sampling(max_tokens=9, temperature=0.5, top_p=0.9, stop=("X",), seed=3)
    (reply,) = model.generate([TALK], sampling)
    assert (reply.text, reply.finish) == ("Yes.", "length")
    assert (reply.prompt_tokens, reply.reply_tokens) == (11, 2)
    path, headers, body = server.asked[0]
    assert path == "/v1/chat/completions"
    assert "authorization" not in headers
    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello \ufffd"},
            {"role": "assistant", "content": "Hi."},
            {"role": "user", "content": "日本?"},
        ],
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["X"],
        "seed": 3,
    }


def test_what_is_not_asked_for_is_not_sent(server, answered) -> None:
    server.answers = [answered(body={"choices": [{"message": {"content": None}}]})]
    config = OpenAIModel.Config(
        model="m",
        base_url=server.url,
        api_key_env=None,
        max_tokens_field="max_completion_tokens",
    )
    with OpenAIModel(config) as model:
        (reply,) = model.generate([TALK], Sampling(max_tokens=5))
    assert (reply.text, reply.finish, reply.reply_tokens) == ("", "stop", None)
    assert set(server.asked[0][2]) == {"model", "messages", "max_completion_tokens", "temperature"}


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "stop"),
        ("content_filter", "refusal"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("something new", "stop"),
    ],
)
def test_why_a_reply_ended_is_translated(model, server, answered, reason, finish) -> None:
    body = {"choices": [{"message": {"content": "a"}, "finish_reason": reason}]}
    server.answers = [answered(body=body)]
    assert model.generate([TALK], Sampling())[0].finish == finish


def test_a_refusal_is_a_reply(model, server, answered) -> None:
    body = {"choices": [{"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}]}
    server.answers = [answered(body=body)]
    (reply,) = model.generate([TALK], Sampling())
    assert (reply.text, reply.finish) == ("No.", "refusal")


def test_a_stream_is_read_however_it_is_cut(model, server, answered, sse) -> None:
    whole = (
        sse({"choices": [{"delta": {"role": "assistant"}}]})
        + sse({"choices": [{"delta": {"content": "Hé"}}]})
        + b": keep-alive\n\n"
        + sse({"choices": [{"delta": {"content": "llo 👋"}, "finish_reason": "stop"}]})
        + sse({"choices": [], "usage": {}})
        + sse("[DONE]")
    )
    for size in (1, 7, 1000):
        chunks = tuple(whole[i : i + size] for i in range(0, len(whole), size))
        server.answers = [answered(chunks=chunks)]
        assert list(model.stream(TALK, Sampling())) == ["Hé", "llo 👋"]
    assert server.asked[0][2]["stream"] is True


def test_an_error_of_null_is_none_and_the_stream_tells_its_end(
    model, server, answered, sse
) -> None:
    usage = {"completion_tokens": 3}
    pieces = (
        sse({"error": None, "choices": [{"delta": {"content": "a"}, "finish_reason": None}]}),
        sse({"error": None, "choices": [{"delta": {"content": "b"}, "finish_reason": "length"}]}),
        sse({"choices": [], "usage": usage}),
        sse("[DONE]"),
    )
    server.answers = [answered(chunks=pieces)]
    said = []

    def told():
        return (yield from model.stream(TALK, Sampling()))

    stream = told()
    with pytest.raises(StopIteration) as ended:
        while True:
            said.append(next(stream))
    assert said == ["a", "b"]
    assert ended.value.value == Ending(finish="length", reply_tokens=3)


def test_a_finished_stream_needs_no_done(model, server, answered, sse) -> None:
    piece = sse({"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]})
    server.answers = [answered(chunks=(piece,))]
    assert list(model.stream(TALK, Sampling())) == ["a"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"choices": [{"delta": {"content": "a"}}]}, "ended before"),
        ({"error": {"message": "overloaded"}}, "overloaded"),
        ("not json", "expected JSON"),
    ],
)
def test_a_broken_stream_is_the_servers_failure(model, server, answered, sse, data, said) -> None:
    server.answers = [answered(chunks=(sse(data),))]
    with pytest.raises(ModelServerError, match=said):
        list(model.stream(TALK, Sampling()))


# Log-probabilities

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
TURNS = (Message("user", "Hi"),)
PROMPT = "user: Hi\nassistant:"


@pytest.fixture
def scorer(server):
    config = OpenAIModel.Config(
        model="m", base_url=server.url, api_key_env=None, chat_template=TEMPLATE
    )
    with OpenAIModel(config) as made:
        yield made


def echo(body):
    """A server whose tokens are runs of four characters, each of log-probability -its start."""
    text = body["prompt"]
    starts = list(range(0, len(text), 4))
    tokens = [text[start : start + 4] for start in starts]
    logprobs = {
        "tokens": [*tokens, " one more"],
        "text_offset": [*starts, len(text)],
        "token_logprobs": [None, *[-float(start) for start in starts[1:]], -0.5],
    }
    return {"choices": [{"text": text + " one more", "logprobs": logprobs}]}


def test_log_probabilities_are_those_of_the_continuations_tokens(scorer, server, answered) -> None:
    server.answers = [answered(body=echo)]
    got = scorer.log_probabilities(TURNS, [" yes indeed", "", "\ud800"])
    assert len(PROMPT) == 19  # so that the token from 16 on straddles the border
    assert [list(logs) for logs in got] == [[-16, -20, -24, -28], [], [-16]]
    assert all(logs.dtype == np.float64 for logs in got)
    asked = {body["prompt"] for _, _, body in server.asked}
    assert asked == {PROMPT + " yes indeed", PROMPT + "\ufffd"}
    assert all(path == "/v1/completions" for path, _, _ in server.asked)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {"tokens": [" one"], "text_offset": [23], "token_logprobs": [-1.0]},
        {"tokens": [], "text_offset": [], "token_logprobs": []},
    ],
)
def test_a_server_without_echo_is_named(scorer, server, answered, logprobs) -> None:
    server.answers = [answered(body={"choices": [{"text": "", "logprobs": logprobs}]})]
    with pytest.raises(ModelRequestError, match="does not echo"):
        scorer.log_probabilities(TURNS, [" yes"])


def test_log_probabilities_that_are_no_numbers_are_the_servers_failure(
    scorer, server, answered
) -> None:
    tokens = [PROMPT + " yes"]
    logprobs = {"tokens": tokens, "text_offset": [0], "token_logprobs": ["low"]}
    server.answers = [answered(body={"choices": [{"logprobs": logprobs}]})]
    with pytest.raises(ModelServerError, match="expected numbers"):
        scorer.log_probabilities(TURNS, [" yes"])


def test_a_begin_token_that_the_server_puts_before_the_text_moves_nothing(
    scorer, server, answered
) -> None:
    begin = "<|begin_of_text|>"

    def begun(body):
        (choice,) = echo(body)["choices"]
        logs = choice["logprobs"]
        logs["tokens"].insert(0, begin)
        logs["text_offset"] = [0, *(len(begin) + start for start in logs["text_offset"])]
        logs["token_logprobs"].insert(0, None)
        logs["token_logprobs"][1] = -0.25
        return {"choices": [choice]}

    server.answers = [answered(body=begun)]
    (got,) = scorer.log_probabilities(TURNS, [" yes indeed"])
    assert list(got) == [-16, -20, -24, -28]


def test_tokens_that_do_not_spell_the_text_are_an_error(scorer, server, answered) -> None:
    def broken(body):
        (choice,) = echo(body)["choices"]
        choice["logprobs"]["tokens"][3] = "\ufffd"
        return {"choices": [choice]}

    server.answers = [answered(body=broken)]
    with pytest.raises(ModelRequestError, match="do not spell the text"):
        scorer.log_probabilities(TURNS, [" yes"])


def test_log_probabilities_need_a_chat_template(model, server) -> None:
    with pytest.raises(ConfigError, match="chat_template"):
        model.log_probabilities(TURNS, ["a"])
    config = OpenAIModel.Config(
        model="m", base_url=server.url, api_key_env=None, chat_template="{{ nothing.there }}"
    )
    with OpenAIModel(config) as broken, pytest.raises(ConfigError, match="chat_template: "):
        broken.log_probabilities(TURNS, ["a"])
