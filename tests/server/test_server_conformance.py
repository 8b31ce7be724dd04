"""The conformance suite passes where nothing leaks and fails where something does."""

import json

import pytest
import typer
from server_doubles import gateway

from custodes.cli.conformance import conformance
from custodes.errors import ConfigError
from custodes.guard import Policy
from custodes.server.conformance import Gateway, run
from custodes.server.demonstration import scripted_guard

MARKER = "no cake"


def results(upstream, hold_back, **settings):
    def guard():
        made = scripted_guard(MARKER)
        made.policy = Policy(hold_back=hold_back)
        return made

    with gateway(upstream, guard, **settings) as running:
        suite = Gateway(url=running.url, marker=MARKER, routes=("/v1/completions",))
        return run(suite, upstream, progress=lambda _: None)


def test_a_gateway_that_holds_back_enough_passes(upstream):
    found = results(upstream, len(MARKER) - 1)
    assert len(found) > 30
    assert [result for result in found if not result.passed] == []


def test_a_planted_leak_of_one_character_is_found(upstream):
    found = results(upstream, len(MARKER) - 2)
    leaks = {result.leaked for result in found if result.cell.kind == "harmful"}
    assert leaks == {1, 3}  # one a choice
    assert all(result.passed for result in found if result.cell.kind == "benign")


def test_a_gateway_that_only_flags_leaks(upstream):
    import hashlib

    digest = hashlib.sha256(b"k").hexdigest()
    keys = [{"id": "a", "sha256": digest, "mode": "shadow"}]
    with gateway(upstream, lambda: scripted_guard(MARKER), keys=keys) as running:
        suite = Gateway(url=running.url, marker=MARKER, key="k", routes=("/v1/messages",))
        found = run(suite, upstream, progress=lambda _: None)
    assert all(result.leaked for result in found if result.cell.kind == "harmful")
    assert {result.problem for result in found if result.cell.kind == "input"} == {
        "the upstream was asked although the input was harmful"
    }


def test_the_command_counts_and_writes(tmp_path, capsys):
    output = tmp_path / "results.json"
    conformance(route=["/v1/completions"], marker=MARKER, output=output)
    assert "0 characters leaked" in capsys.readouterr().out
    assert json.loads(output.read_text())["failed"] == 0


def test_the_command_fails_where_the_gateway_does(upstream, capsys):
    with gateway(upstream, None) as running, pytest.raises(typer.Exit):
        # an upstream of its own that the gateway does not know: benign cells fail too
        conformance(url=running.url, upstream_port=39471, route=["/v1/completions"])
    assert "FAILED" in capsys.readouterr().out


def test_bad_flags_are_refused():
    with pytest.raises(ConfigError, match="--upstream-port"):
        conformance(url="http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="--route"):
        conformance(route=["/v1/x"])
