import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

from redteam_doubles import ANSWER, SET
from server_doubles import MARKER, gateway

from custodes.engine import ENGINES
from custodes.redteam import CampaignConfig, TargetConfig, make_target, run_campaign, user
from custodes.redteam.probes import Probe
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
    made = ENGINES.load("local")
    engine = made(made.Config(kind="serial", batch_size=1))
    found = run_campaign(settings, tmp_path / "run", engine=engine, cache=tmp_path / "c")
    assert found.references[0].mean == 0.75
    assert found.bars == {"kraut": 0.5}
    assert found.fights[0].broken == {"kraut": 1}
    assert "log-probabilities" in found.fights[1].skipped
