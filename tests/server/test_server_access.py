"""What a request cannot do: choose where it is sent, or leave its words in the logs."""

import io
import logging

import httpx2
import pytest
from server_doubles import MARKER, Guard, gateway, make_guard

from custodes.classifiers.scripted import ScriptedConfig, ScriptedScorer
from custodes.errors import StoreBusyError
from custodes.guard import Cascade, Edition, Stage
from custodes.server.app import build_app, build_parts
from custodes.server.config import GatewayConfig
from custodes.server.demonstration import serve_in_thread
from custodes.server.scripted import Script, ScriptedUpstream
from custodes.server.telemetry import JsonLines

SECRET = "my grandmother's maiden name"


def test_no_request_chooses_an_address(running):
    with ScriptedUpstream() as elsewhere:
        address = elsewhere.url
        host = address.removeprefix("http://").removesuffix("/v1")
        messages = [{"role": "user", "content": "hello"}]
        for body in (
            {"model": address},
            {"model": f"{address}/m"},
            {"model": "m", "base_url": address, "api_base": address, "upstream": address},
            {"model": "m", "extra_body": {"base_url": address}},
        ):
            running.post("/v1/chat/completions", {**body, "messages": messages})
        for headers in (
            {"host": host},
            {"x-forwarded-host": host, "x-upstream": address, "forwarded": f"host={host}"},
            {"x-base-url": address, "x-portkey-custom-host": address},
        ):
            body = {"model": "m", "messages": messages}
            assert running.post("/v1/chat/completions", body, headers=headers).status_code == 200
        assert elsewhere.asked == []


class Quoting(ScriptedScorer):
    """Raises with the words that it was given."""

    def open(self, context, mode):
        return self

    def push(self, text=SECRET):
        raise ValueError(f"cannot read {text!r}")

    finish = push


def quoting():
    return Guard(
        Cascade([Stage(scorer=Quoting(ScriptedConfig()))]),
        make_guard().policy,
        edition=Edition(id="bakery", version="1"),
        artifact="a",
        clock=make_guard()._clock,
    )


@pytest.fixture
def lines():
    """What an operator's log would hold, every level of it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("custodes")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_no_log_holds_a_prompt_or_a_reply(upstream, lines):
    said = (SECRET, " ", MARKER)
    scripts = [Script(pieces=said)]
    for fault in ("drop", "end", "garbage", "error", "shape", "status", "json"):
        scripts.append(Script(pieces=said, fault=fault, fault_at=1))
    for guard in (make_guard, quoting, None):
        with gateway(upstream, guard) as running:
            for stream in (True, False):
                for script in scripts:
                    messages = [
                        {"role": "system", "content": SECRET},
                        {"role": "user", "content": script.prompt()},
                    ]
                    body = {"model": "m", "stream": stream, "messages": messages}
                    running.post("/v1/chat/completions", body).read()
            running.post("/v1/moderations", {"input": f"{SECRET} {MARKER}"})
            running.post("/v1/chat/completions", {"model": SECRET, "messages": SECRET})
            running.http.post(running.url + "/v1/messages", content=f'{{"{SECRET}')
    found = lines.getvalue()
    assert "the upstream failed" in found
    assert "raised ValueError" in found
    for words in (SECRET, MARKER, SECRET.split()[1], "script:"):
        assert words not in found


@pytest.mark.parametrize("keeps", [False, True])
def test_events_quote_a_guard_that_failed_where_texts_are_kept(upstream, keeps):
    with gateway(upstream, quoting, keep_text=keeps) as running:
        running.post("/v1/moderations", {"input": f"{SECRET} {MARKER}"})
    (failed,) = [event for event in running.sink.events if event.failure]
    assert "raised ValueError" in failed.failure
    assert (SECRET in failed.failure) is keeps


class LostKeys:
    """A database of keys that does not answer."""

    async def find(self, token):
        raise StoreBusyError("the database is locked")

    async def named(self, id_):
        raise StoreBusyError("the database is locked")


def test_without_the_database_of_keys_nobody_is_let_in_and_told_why(upstream):
    config = GatewayConfig.parse({"guard": None, "upstreams": {"main": {"url": upstream.url}}})
    app = build_app(config, build_parts(config, keys=LostKeys()))
    asked = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    with serve_in_thread(app) as url, httpx2.Client(timeout=20, trust_env=False) as http:
        for path in ("/v1/chat/completions", "/v1/messages", "/v1/moderations"):
            response = http.post(url + path, json=asked, headers={"x-api-key": "k"})
            assert response.status_code == 503
            assert "database does not answer" in response.json()["error"]["message"]
        response = http.post(url + "/v1/moderations", json=asked, headers={"x-api-key": "k"})
        assert response.json()["error"]["code"] == "store_unavailable"
