"""What settings may say, and what names the results that are kept under them."""

import dataclasses
import json

import pytest

from custodes.engine import identify
from custodes.errors import ConfigError
from custodes.methods.mona import method
from custodes.methods.mona.config import GenerationConfig, GridworldConfig, StudyConfig
from custodes.methods.mona.gridworld.board import Board
from custodes.methods.mona.gridworld.study import study_gridworld
from custodes.methods.mona.method import run_study
from custodes.methods.mona.report import gridworld_report
from custodes.methods.mona.tdd import generation
from custodes.methods.mona.tdd.generation import generate


@pytest.mark.parametrize(
    ("name", "settings"),
    [("arms", {"arms": []}), ("loan.reliability", {"loan": {"reliability": []}})],
)
def test_a_study_of_nothing_is_refused(name, settings):
    with pytest.raises(ConfigError, match=name):
        StudyConfig.parse({"environment": "loan", **settings})


@pytest.fixture
def weights(tmp_path):
    """A model's folder, and a way to save other weights over its own."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder, (folder / "model.safetensors").write_text


@pytest.fixture
def identities(monkeypatch):
    seen = []

    def kept(*_, identity, **__):
        seen.append(json.loads(identity))
        return iter(())

    monkeypatch.setattr(method, "resumable_map", kept)
    monkeypatch.setattr(generation, "resumable_map", kept)
    return seen


def test_runs_are_of_the_monitors_weights(weights, identities, tmp_path):
    folder, save = weights
    for settings in ({"model": str(folder)}, {"model": str(folder)}, {"model": "a/hub-id"}, None):
        save(f"weights {len(identities)}")
        monitor = None if settings is None else {"backend": "transformers", "settings": settings}
        language = {"model": "a/hub-id", "monitor": monitor}
        run_study(
            StudyConfig.parse({"environment": "loan-language", "language": language}), tmp_path
        )
    first, second, hub, alone = identities
    assert first["monitor"] != second["monitor"] and "monitor" not in hub
    # The name that runs have had all along, where no model is a monitor.
    assert set(alone) == {"environment", "settings", "board", "version"}


def test_episodes_are_of_the_weights_that_wrote_and_judged(
    weights, identities, tmp_path, monkeypatch
):
    monkeypatch.setattr(generation, "read_problems", lambda *_, **__: [])
    problems = tmp_path / "HumanEval.jsonl.gz"
    problems.write_bytes(b"")
    folder, save = weights
    own, hub = (
        {"backend": "transformers", "settings": {"model": name}} for name in (str(folder), "a/hub")
    )
    for model, overseer in ((own, None), (own, None), (hub, own), (hub, own), (hub, None)):
        save(f"weights {len(identities)}")
        config = GenerationConfig.parse(
            {"model": model, "overseer": overseer, "humaneval": problems}
        )
        assert list(generate(config, tmp_path / "kept")) == []
    files = [one.get("files") for one in identities]
    assert files[0] != files[1] and files[2] != files[3] and None not in files[:4]
    assert set(identities[4]) == {"settings", "problems", "version"}, "the name that it had"
    assert identify(identities[4]) != identify(identities[3])


def test_published_hacks_stand_beside_the_papers_game_alone():
    quick = GridworldConfig(noise_seeds=1, weights=2, comparisons=(), steps=10)
    study = study_gridworld(Board(), quick)
    every = GridworldConfig(noise_seeds=1, weights=2, comparisons=())
    paper = dataclasses.replace(study, config=every)  # as if those were the first ten of its 50

    def anchors(one):
        (table,) = [
            block
            for section in gridworld_report(one).values()["sections"]
            for block in section["blocks"]
            if "hack, anchor" in block.get("columns", ())
        ]
        return [row[table["columns"].index("hack, anchor")] for row in table["rows"]]

    assert anchors(paper)[8] == 4.5
    assert set(anchors(study)) == {None}, "shorter episodes"
    for board in (Board(blocking=0), Board(penalty=0.1)):
        assert set(anchors(dataclasses.replace(paper, board=board))) == {None}
