"""The conformance suite passes where nothing leaks and fails where something does."""

import hashlib
import json

import httpx2
import pytest
import typer
from server_doubles import gateway, make_guard

from custodes.classifiers.scripted import Fault, Pattern
from custodes.cli.conformance import conformance
from custodes.errors import ConfigError, DataError
from custodes.guard import Policy, Response, save_guard
from custodes.server.conformance import KINDS, Gateway, as_guard_judges, asking, marked, run
from custodes.server.demonstration import scripted_guard, serve_guarded

MARKER = "no cake"
COMPLETIONS = ("/v1/completions",)


def suite(upstream, url, *kinds, routes=COMPLETIONS, specimens=None, **fields):
    given = Gateway(
        url=url, specimens=specimens or marked(MARKER), routes=routes, patience=0.4, **fields
    )
    return run(given, upstream, progress=lambda _: None, kinds=kinds or KINDS)


def holding_back(characters):
    def guard():
        made = scripted_guard(MARKER)
        made.policy = Policy(hold_back=characters)
        return made

    return guard


def failed(results):
    return [(each.cell.name, each.leaked, each.problem) for each in results if not each.passed]


def kinds(results, kind):
    found = [each for each in results if each.cell.kind == kind]
    assert found
    return found


def test_a_gateway_that_holds_back_enough_passes(upstream):
    with gateway(upstream, holding_back(len(MARKER) - 1)) as running:
        found = suite(upstream, running.url)
    assert len(found) > 50
    assert failed(found) == []


def test_a_planted_leak_of_one_character_is_found(upstream):
    with gateway(upstream, holding_back(len(MARKER) - 2)) as running:
        found = suite(upstream, running.url, "harmful", "split", "benign")
    assert {result.leaked for result in kinds(found, "harmful")} == {1, 3}  # one a choice
    assert {result.leaked for result in kinds(found, "split")} == {1}
    assert all(result.passed for result in kinds(found, "benign"))


def test_a_gateway_that_only_flags_leaks(upstream):
    digest = hashlib.sha256(b"k").hexdigest()
    keys = [{"id": "a", "sha256": digest, "mode": "shadow"}]
    with gateway(upstream, lambda: scripted_guard(MARKER), keys=keys) as running:
        found = suite(upstream, running.url, "harmful", "input", routes=("/v1/messages",), key="k")
    assert all(result.leaked for result in kinds(found, "harmful"))
    assert {result.problem for result in kinds(found, "input")} == {
        "the upstream was asked although the input was harmful"
    }


@pytest.mark.parametrize("fault", [Fault.RAISE, Fault.SILENT])
@pytest.mark.parametrize("at", [0, 16])
def test_a_gateway_that_goes_on_when_its_guard_fails_leaks(upstream, fault, at):
    def guard(response):
        made = scripted_guard(MARKER, fault=fault, fault_at=at)
        made.policy = Policy(hold_back=len(MARKER) - 1, on_failure=response)
        return made

    leaks = {}
    for response in (Response.BLOCK, Response.FLAG):
        with (
            gateway(upstream, lambda: scripted_guard(MARKER)) as running,
            gateway(upstream, lambda response=response: guard(response)) as broken,
        ):
            found = suite(upstream, running.url, "guard", broken={"failing": broken.url})
        leaks[response] = [each.leaked for each in kinds(found, "guard")]
    assert set(leaks[Response.BLOCK]) == {0}
    assert set(leaks[Response.FLAG]) == {len(MARKER) + len(" and more")}


def test_a_leak_in_another_place_is_found(upstream):
    """An upstream's error message that a gateway without a guard hands on."""
    with gateway(upstream, None) as running:
        found = suite(upstream, running.url, "fault")
    (status,) = [
        each for each in kinds(found, "fault") if each.cell.name.startswith(
            "fault /v1/completions stream content status"
        )
    ]  # fmt: skip
    assert status.leaked == len(MARKER) + len(" and more")


def test_words_of_the_gateways_own_are_no_leak(upstream):
    from custodes.server.conformance.suite import _leaked

    (specimen, _) = marked(MARKER).harmful
    before = specimen.text[: specimen.allowed]
    assert _leaked(specimen, before + "[I would rather not say.]") == 0
    assert _leaked(specimen, before[:5]) == 0
    assert _leaked(specimen, "Sorry: " + specimen.text) == len(specimen.text) - specimen.allowed
    assert _leaked(specimen, before + "n") == 1


# With a guard that knows no marker: what it does to whole texts is the measure.

HARM = Pattern(regex="without being caught", logit=4)
ASKED = Pattern(regex="tell me how to break into", logit=4)


def judging(**settings):
    return make_guard(patterns=(HARM, ASKED), step=8, window=64, policy=Policy(**settings))


def test_a_real_guard_is_its_own_measure():
    found = as_guard_judges(judging())
    assert [each.text[: each.allowed] for each in found.harmful] != []
    for specimen in (*found.harmful, *found.arguments):
        start, end = specimen.harm
        assert start < specimen.allowed < end
    assert found.asked.startswith("Tell me how to break into")
    with pytest.raises(DataError, match="stops a marker"):
        as_guard_judges(make_guard())


def test_a_gateway_with_a_real_guard_passes_and_one_that_is_late_does_not(upstream):
    measure = as_guard_judges(judging())
    with gateway(upstream, judging) as running:
        chosen = ("benign", "harmful", "fault", "input", "verdict")
        routes = ("/v1/messages", "/v1/moderations", "/v1/decisions")
        assert failed(suite(upstream, running.url, *chosen, routes=routes, specimens=measure)) == []
    with gateway(upstream, judging, release="immediate") as running:
        found = suite(upstream, running.url, "split", specimens=measure)
    assert any(each.leaked for each in kinds(found, "split"))


@pytest.mark.parametrize("blanks", [False, True])
def test_a_gateway_can_be_its_own_measure(upstream, blanks, monkeypatch):
    if blanks:
        from custodes.server.wire.openai import ChatReply

        whole = ChatReply.rebuild
        monkeypatch.setattr(
            ChatReply, "rebuild", lambda self, body, kept, cuts: whole(self, body, {}, cuts)
        )
    with gateway(upstream, judging) as running:
        measure = asking(running.url, upstream, model="m")
        own = as_guard_judges(judging())
        if not blanks:
            assert measure.harmful == own.harmful
        for mine, other in zip(measure.harmful, own.harmful, strict=True):
            assert abs(mine.allowed - other.allowed) < 16
        if not blanks:
            assert failed(suite(upstream, running.url, "split", specimens=measure)) == []


def test_the_command_counts_and_writes(tmp_path, capsys):
    output = tmp_path / "results.json"
    routes = ["/v1/completions", "/v1/moderations"]
    conformance(route=routes, kind=["benign", "guard", "verdict"], marker=MARKER, output=output)
    assert "0 characters leaked" in capsys.readouterr().out
    values = json.loads(output.read_text())
    assert values["failed"] == 0
    assert {row["cell"].split()[0] for row in values["results"]} == {
        "benign", "guard", "verdict"
    }  # fmt: skip


@pytest.mark.slow
def test_the_command_judges_by_a_guard(tmp_path, capsys):
    guard = judging()
    stage = tmp_path / "stage"
    guard.cascade.stages[0].scorer.save(stage)
    save_guard(tmp_path / "guard", guard, scorers={"scripted": stage}, card="a double")
    conformance(guard=str(tmp_path / "guard"), output=tmp_path / "results.json")
    assert "0 characters leaked" in capsys.readouterr().out


@pytest.mark.slow
def test_the_shipped_guard_leaks_nothing(capsys):
    conformance(guard="default", route=["/v1/completions"])
    assert "0 characters leaked" in capsys.readouterr().out


def test_the_command_fails_where_the_gateway_does(upstream, capsys):
    with gateway(upstream, None) as running, pytest.raises(typer.Exit):
        # an upstream of its own that the gateway does not know: benign cells fail too
        conformance(url=running.url, upstream_port=39471, kind=["benign"])
    assert "FAILED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"url": "http://127.0.0.1:1"}, "--upstream-port"),
        ({"route": ["/v1/x"]}, "--route"),
        ({"kind": ["odd"]}, "--kind"),
        ({"marker": "a", "guard": "default"}, "expected one of them"),
        ({"broken": ["a=http://127.0.0.1:1"]}, "give its --url"),
        ({"url": "http://127.0.0.1:1", "upstream_port": 1, "broken": ["a"]}, "NAME=URL"),
    ],
)
def test_bad_flags_are_refused(flags, message):
    with pytest.raises(ConfigError, match=message):
        conformance(**flags)


def test_a_gateway_of_ones_own_needs_no_settings(upstream):
    with serve_guarded(upstream.url, lambda: scripted_guard(MARKER)) as address:
        assert httpx2.get(address + "/healthz").status_code == 200
