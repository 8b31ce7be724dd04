import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

from redteam_doubles import ANSWER, SET
from server_doubles import MARKER, gateway, make_guard

from custodes.engine import ENGINES
from custodes.redteam import (
    Attempt,
    CampaignConfig,
    TargetConfig,
    make_target,
    run_campaign,
    user,
)
from custodes.redteam.probes import Probe
from custodes.redteam.targets.gateway import GatewayTarget, guard_told
from custodes.server.scripted import ScriptedUpstream


@pytest.fixture(scope="module")
def running():
    local = {"local": {"model": "scripted", "settings": {"otherwise": ANSWER}}}
    with ScriptedUpstream() as upstream, gateway(upstream, upstreams=local) as found:
        yield found


def target(running):
    return {
        "kind": "gateway",
        "model": "local",
        "base_url": f"{running.url}/v1",
        "api_key_env": None,
        "system": "Be brief.",
    }


def test_a_gateway_is_attacked_over_http(running, tmp_path):
    made = make_target(TargetConfig.parse(target(running)), cache=tmp_path)
    through, stopped = made.handle(
        [Probe(turns=user("kraut?")), Probe(turns=user(f"{MARKER} and kraut?"))]
    )
    assert (through.reply, through.stopped) == (ANSWER, None)
    assert stopped.stopped == "refusal"
    assert made.can == {"reply"}


def serial():
    made = ENGINES.load("local")
    return made(made.Config(kind="serial", batch_size=1))


def test_a_guard_that_changed_behind_the_address_is_fought_anew(tmp_path):
    import yaml

    (tmp_path / "set.yaml").write_text(yaml.safe_dump(SET.model_dump(mode="json")))
    local = {"local": {"model": "scripted", "settings": {"otherwise": ANSWER}}}
    blind = {"version": "2", "patterns": ()}
    made = iter(make_guard(**settings) for settings in ({}, {}, blind, blind))
    attack = {"kind": "replay", "file": str(tmp_path / "found.jsonl"), "successes": False}
    marked = Attempt(attack="x", question="kraut", query=1, turns=user(f"{MARKER} kraut?"))
    (tmp_path / "found.jsonl").write_text(json.dumps(marked.to_values()) + "\n")
    with ScriptedUpstream() as up, gateway(up, lambda: next(made), upstreams=local) as running:
        settings = CampaignConfig.parse(
            {
                "target": target(running),
                "questions": str(tmp_path / "set.yaml"),
                "only": ["kraut"],
                "attacks": [attack],
                "budget": 1,
            }
        )
        stopped = []
        for _ in range(3):
            found = run_campaign(settings, tmp_path / "run", engine=serial(), cache=tmp_path / "c")
            stopped.append([each.stopped for each in found.fights[0].attempts])
            assert running.http.post(f"{running.url}/v1/admin/reload").status_code == 200
        assert stopped == [["refusal"], ["refusal"], [None]]
        parts = tmp_path / "run" / "parts"
        assert len(list(parts.glob("0*.jsonl"))) == 2  # the same guard, loaded again, is the same


def test_a_server_that_tells_no_guard_is_any_server(running):
    def told(url):
        return guard_told(
            GatewayTarget.Config(model="m", base_url=url, api_key_env=None, backoff=0.0)
        )

    assert told(f"{running.url}/v1") == told(f"{running.url}/v1/") == "bakery@1 artifact-1"
    assert told(f"{running.upstream.url}/v1") == told("http://127.0.0.1:9/v1") == ""
    with gateway(running.upstream, None) as bare:
        assert told(f"{bare.url}/v1") == ""


def test_a_campaign_takes_the_bar_from_the_question_set(running, tmp_path):
    import yaml

    questions = SET.model_copy(update={"questions": SET.questions[:1]})
    (tmp_path / "set.yaml").write_text(yaml.safe_dump(questions.model_dump(mode="json")))
    settings = CampaignConfig.parse(
        {
            "target": target(running),
            "questions": str(tmp_path / "set.yaml"),
            "attacks": [{"kind": "direct"}, {"kind": "random_search"}],
            "budget": 2,
        }
    )
    found = run_campaign(settings, tmp_path / "run", engine=serial(), cache=tmp_path / "c")
    assert found.references[0].mean == 0.75
    assert found.bars == {"kraut": 0.5}
    assert found.fights[0].broken == {"kraut": 1}
    assert "log-probabilities" in found.fights[1].skipped
