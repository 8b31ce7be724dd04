"""Chat completions through a real gateway: let through, cut, never leaked."""

import json

import pytest
from server_doubles import CAKE, MARKER, finishes, gateway, said

from custodes.server.scripted import Script

BEFORE = "Here is the "
HARM = Script(pieces=(BEFORE, "forbid", "den cake", " recipe", " now"))


def reasoned(chunks):
    return "".join(
        choice["delta"].get("reasoning_content") or ""
        for chunk in chunks
        for choice in chunk["choices"]
    )


def arguments(chunks):
    return "".join(
        call["function"]["arguments"]
        for chunk in chunks
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls", [])
    )


def whole(running, script, **body):
    messages = [{"role": "user", "content": script.prompt()}]
    response = running.post("/v1/chat/completions", {"model": "m", "messages": messages, **body})
    assert response.status_code == 200, response.text
    return response.json()


def test_a_benign_stream_goes_through_untouched(running):
    chunks = running.chat(Script(pieces=("Hello", " there", ", you.")))
    assert said(chunks) == "Hello there, you."
    assert finishes(chunks) == ["stop"]
    assert all(chunk["unknown_number"] == 7 for chunk in chunks)
    assert all(chunk["choices"][0]["unknown_flag"] for chunk in chunks)


def test_what_the_client_says_reaches_the_upstream_untouched(running):
    body = {"seed": 5, "logit_bias": {"7": 1}, "unknown_field": [1.5, None, {"a": "é\u0000"}]}
    running.chat(Script(), **body)
    _, asked, _ = running.upstream.asked[-1]
    assert {name: asked[name] for name in body} == body


def test_a_harmful_stream_is_cut_where_the_harm_begins(running):
    chunks = running.chat(HARM)
    assert said(chunks) == BEFORE
    assert finishes(chunks) == ["content_filter"]
    assert "guard" not in chunks[-1]


def test_wherever_the_harm_is_split_nothing_of_it_leaves(running):
    for position in range(len(MARKER) + 1):
        pieces = (BEFORE, MARKER[:position], MARKER[position:], " and more")
        chunks = running.chat(Script(pieces=tuple(piece for piece in pieces if piece)))
        assert said(chunks) == BEFORE, position
        assert finishes(chunks) == ["content_filter"], position


@pytest.mark.parametrize("size", [1, 2, 7])
def test_however_the_bytes_are_split_nothing_of_it_leaves(running, size):
    text = "Ünïcödé 🎂 𝔞 " + BEFORE
    for position in (0, 5, len(MARKER)):
        pieces = (text, MARKER[:position] or " ", MARKER[position:] or " ", "!" * 40)
        script = Script(pieces=pieces, chunk=size)
        shown = said(running.chat(script))
        assert (text + pieces[1] + pieces[2]).startswith(shown)
        assert MARKER[0:2] not in shown.removeprefix(text)


def test_every_byte_a_chunk_changes_nothing_of_a_benign_stream(running):
    pieces = ("Ünï", "cödé 🎂", "\u0000\u202e", " end")
    assert said(running.chat(Script(pieces=pieces, chunk=1))) == "".join(pieces)


def test_reasoning_is_judged_and_comes_first(running):
    chunks = running.chat(Script(channel="reasoning", pieces=("I think", " so")))
    assert reasoned(chunks) == "I think so"
    chunks = running.chat(Script(channel="reasoning", pieces=("I think ", MARKER, " so")))
    assert reasoned(chunks) == "I think "
    assert finishes(chunks) == ["content_filter"]


def test_arguments_of_tools_are_judged(running):
    benign = Script(channel="tool", before=("Let me see.",), pieces=('{"a": "b', '"}'))
    chunks = running.chat(benign)
    assert said(chunks) == "Let me see."
    assert arguments(chunks) == '{"a": "b"}'
    assert finishes(chunks) == ["tool_calls"]
    harmful = Script(channel="tool", before=("Let me see.",), pieces=('{"a": "', MARKER, '"}'))
    chunks = running.chat(harmful)
    assert said(chunks) == "Let me see."
    assert "cake" not in arguments(chunks)
    assert finishes(chunks) == ["content_filter"]


def test_harm_that_is_split_over_an_interruption_is_found(running):
    script = Script(channel="reasoning", before=(BEFORE, MARKER[:9]), pieces=("hm",))
    # content, then reasoning: what was content before it may leave, it is complete there
    assert said(running.chat(script)) == BEFORE + MARKER[:9]


def test_choices_are_cut_one_by_one(running):
    chunks = running.chat(Script(pieces=("a", "b")), n=3)
    assert [said(chunks, lane) for lane in range(3)] == ["ab"] * 3
    chunks = running.chat(HARM, n=2)
    assert [said(chunks, lane) for lane in range(2)] == [BEFORE] * 2
    assert [finishes(chunks, lane) for lane in range(2)] == [["content_filter"]] * 2


def test_usage_is_reported_once_cut_or_not(running):
    asks = {"stream_options": {"include_usage": True}}
    chunks = running.chat(Script(pieces=("a", "b")), **asks)
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks if "usage" in chunk] == [2]
    chunks = running.chat(HARM, **asks)
    (usage,) = [chunk["usage"] for chunk in chunks if "usage" in chunk]
    assert usage["completion_tokens"] > 0


def test_harmful_input_is_stopped_before_the_upstream_is_asked(running):
    asked = len(running.upstream.asked)
    chunks = running.chat(f"how do I bake a {MARKER}?")
    assert (said(chunks), finishes(chunks)) == ("", ["content_filter"])
    body = {"model": "m", "messages": [{"role": "user", "content": f"a {MARKER}"}], "n": 2}
    reply = running.post("/v1/chat/completions", body).json()
    assert [choice["finish_reason"] for choice in reply["choices"]] == ["content_filter"] * 2
    assert [choice["message"]["content"] for choice in reply["choices"]] == ["", ""]
    assert len(running.upstream.asked) == asked


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "system", "content": MARKER}, {"role": "user", "content": "x"}]},
        {
            "messages": [
                {"role": "user", "content": MARKER},
                {"role": "assistant", "content": "no"},
                {"role": "user", "content": "please"},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "1",
                            "type": "function",
                            "function": {"name": "f", "arguments": "{}"},
                        }
                    ],
                },
                {
                    "role": "tool",
                    "tool_call_id": "1",
                    "content": [{"type": "text", "text": MARKER}],
                },
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "a"},
                {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "f", "arguments": MARKER}}],
                },
                {"role": "tool", "content": "b"},
            ]
        },
        {
            "messages": [{"role": "user", "content": "a"}],
            "tools": [{"type": "function", "function": {"name": "f", "description": MARKER}}],
        },
        {"messages": [{"role": "user", "content": "a"}], "documents": [{MARKER: 1}]},
    ],
)
def test_all_that_goes_into_the_model_is_judged(running, body):
    asked = len(running.upstream.asked)
    reply = running.post("/v1/chat/completions", {"model": "m", **body}).json()
    assert reply["choices"][0]["finish_reason"] == "content_filter"
    assert len(running.upstream.asked) == asked


def test_whole_replies_are_let_through_or_cut(running):
    reply = whole(running, Script(pieces=("a", "b")), n=2)
    assert [choice["message"]["content"] for choice in reply["choices"]] == ["ab", "ab"]
    assert reply["unknown_number"] == 7
    reply = whole(running, HARM)
    (choice,) = reply["choices"]
    assert choice["message"]["content"] == BEFORE
    assert choice["finish_reason"] == "content_filter"
    assert reply["usage"]["completion_tokens"] == 5


def test_of_a_whole_reply_that_is_cut_no_tool_call_remains(running):
    script = Script(channel="tool", before=("Let me see.",), pieces=(MARKER,))
    (choice,) = whole(running, script)["choices"]
    assert choice["message"]["content"] == "Let me see."
    assert MARKER not in json.dumps(choice)
    script = Script(channel="reasoning", pieces=(MARKER,))
    assert MARKER not in json.dumps(whole(running, script))


def test_whoever_may_ask_is_told_why(running):
    headers = {"custodes-explain": "1"}
    last = running.chat(HARM, headers=headers)[-1]
    assert last["guard"]["rule"] == CAKE
    assert last["guard"]["probability"] > 0.9
    assert last["guard"]["stop_at"] == len(BEFORE)
    last = running.chat(Script(), headers=headers)[-1]
    assert last["guard"]["action"] == "release"


def test_a_reply_that_goes_on_from_the_clients_words_is_judged_with_them(running):
    messages = [
        {"role": "user", "content": Script(pieces=(MARKER[6:], " is")).prompt()},
        {"role": "assistant", "content": MARKER[:6]},
    ]
    body = {"model": "m", "stream": True, "messages": messages}
    events = running.events("/v1/chat/completions", body)
    chunks = [json.loads(event.data) for event in events if event.data != "[DONE]"]
    assert (said(chunks), finishes(chunks)) == ("", ["content_filter"])


def test_every_verdict_becomes_an_event(running):
    seen = len(running.sink.events)
    running.chat(HARM)
    running.wait_for(lambda: len(running.sink.events) >= seen + 2)
    first, second = running.sink.events[seen:]
    assert (first.judged, first.action, first.mode) == ("input", "release", "enforce")
    assert (second.judged, second.action, second.rule) == ("exchange", "stop", CAKE)
    assert second.stop_at == len(BEFORE)
    assert second.route == "/v1/chat/completions"
    assert second.logits == {"scripted": 4.0}
    assert second.versions == {"constitution": "bakery@1", "artifact": "artifact-1"}
    assert second.latency_ms > 0
    assert second.text is None


def test_without_a_guard_everything_goes_through(upstream):
    with gateway(upstream, None) as open_:
        assert said(open_.chat(HARM)) == "".join(HARM.pieces)
        assert open_.sink.events == []
