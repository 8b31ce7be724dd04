from __future__ import annotations

import json
from pathlib import Path

import pytest

from custodes.classifiers.scripted import Pattern, ScriptedConfig, ScriptedScorer
from custodes.errors import ArtifactError
from custodes.guard import (
    Calibration,
    Cascade,
    Edition,
    Guard,
    Manifest,
    Policy,
    RulePolicy,
    Stage,
    find_guard,
    load_guard,
    read_manifest,
    save_guard,
)
from custodes.types import Action, Message, Mode, RuleId

ANT = RuleId("ant")


def made(policy: Policy | None = None, names: tuple[str, ...] = ("cheap", "deep")) -> Guard:
    table = (Pattern(regex="ant", logit=2, rule=ANT),)
    stages = [
        Stage(
            scorer=ScriptedScorer(ScriptedConfig(name=name, rules=(ANT,), patterns=table)),
            weight=0.3,
            escalate_above=None if name == names[-1] else -1.5,
        )
        for name in names
    ]
    return Guard(
        Cascade(stages),
        policy or Policy(threshold=0.6, rules={ANT: RulePolicy(threshold=0.7)}),
        edition=Edition(id="pets", version="3", sha256="00"),
        artifact="",
        clock=lambda: 0.0,
        calibration={Mode.INPUT: Calibration(slope=1.1)},
    )


def saved(tmp_path: Path, guard: Guard | None = None, name: str = "guard") -> tuple[Path, Manifest]:
    guard = guard or made()
    scorers = {}
    for stage in guard.cascade.stages:
        assert isinstance(stage.scorer, ScriptedScorer)
        scorers[stage.scorer.name] = tmp_path / "scorers" / stage.scorer.name
        stage.scorer.save(scorers[stage.scorer.name])
    constitution = tmp_path / "rules.yaml"
    constitution.write_text("id: pets\n")
    folder = tmp_path / name
    manifest = save_guard(
        folder, guard, scorers=scorers, card="# Pets\n", constitution=constitution
    )
    return folder, manifest


def test_a_saved_guard_is_the_same_guard(tmp_path: Path) -> None:
    guard = made()
    folder, manifest = saved(tmp_path, guard)
    loaded = load_guard(folder, loader=ScriptedScorer.load)
    assert loaded.policy == guard.policy
    assert loaded.calibration == guard.calibration
    assert loaded.edition == guard.edition
    assert loaded.artifact == manifest.sha256[:16]
    assert [(s.weight, s.escalate_above) for s in loaded.cascade.stages] == [
        (0.3, -1.5),
        (0.3, None),
    ]
    for text in ("an ant", "a dog"):
        conversation = (Message("user", text),)
        old, new = guard.judge(conversation), loaded.judge(conversation)
        assert (old.score, old.rule, old.stage) == (new.score, new.rule, new.stage)
    assert sorted(manifest.files) == [
        "card.md",
        "constitution.yaml",
        "stages/cheap/scripted.json",
        "stages/deep/scripted.json",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["guard", "rules.yaml", "scorers"]


def test_the_version_follows_from_the_content(tmp_path: Path) -> None:
    _, one = saved(tmp_path)
    _, again = saved(tmp_path, name="again")
    _, other = saved(tmp_path, made(Policy(hold_back=1)), name="other")
    assert one.sha256 == again.sha256 != other.sha256


def test_a_guard_needs_no_copy_of_its_constitution(tmp_path: Path) -> None:
    guard = made(names=("cheap",))
    assert isinstance(guard.cascade.stages[0].scorer, ScriptedScorer)
    guard.cascade.stages[0].scorer.save(tmp_path / "cheap")
    folder = tmp_path / "deeply" / "nested"
    manifest = save_guard(folder, guard, scorers={"cheap": tmp_path / "cheap"}, card="")
    assert sorted(manifest.files) == ["card.md", "stages/cheap/scripted.json"]
    assert read_manifest(folder) == manifest


def test_another_policy_can_be_given(tmp_path: Path) -> None:
    folder, _ = saved(tmp_path)
    strict = load_guard(folder, policy=Policy(threshold=0.0), loader=ScriptedScorer.load)
    assert strict.judge((Message("user", "a dog"),)).action is Action.STOP


def test_a_guard_can_be_saved_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = saved(tmp_path)
    monkeypatch.chdir(folder)
    scorers = {name: folder / "stages" / name for name in ("cheap", "deep")}
    save_guard(Path(), made(), scorers=scorers, card="# Other\n")
    assert (folder / "card.md").read_text() == "# Other\n"


def test_saving_replaces_a_guard_and_nothing_else(tmp_path: Path) -> None:
    saved(tmp_path)
    folder, _ = saved(tmp_path, made(Policy(hold_back=7)))
    assert load_guard(folder, loader=ScriptedScorer.load).policy.hold_back == 7
    (tmp_path / "mine").mkdir()
    with pytest.raises(ArtifactError, match="not a guard"):
        saved(tmp_path, name="mine")


def test_a_guard_that_cannot_be_put_in_its_place_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before = saved(tmp_path)
    real = Path.rename

    def broken(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("no room")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(OSError, match="no room"):
        saved(tmp_path, made(Policy(threshold=0.9)))
    monkeypatch.undo()
    assert read_manifest(folder) == before
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_saving_needs_every_stage_and_names_that_are_folders(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cheap, deep; got artifacts for none"):
        save_guard(tmp_path / "guard", made(), scorers={}, card="")
    bad = made(names=("../up",))
    with pytest.raises(ArtifactError, match="cannot name a folder"):
        save_guard(tmp_path / "guard", bad, scorers={"../up": tmp_path}, card="")
    assert list(tmp_path.iterdir()) == []


def test_any_flipped_byte_is_found(tmp_path: Path) -> None:
    folder, manifest = saved(tmp_path)
    for name in ("guard.json", *manifest.files):
        path = folder / name
        whole = path.read_bytes()
        for place in range(0, len(whole), max(1, len(whole) // 60)):
            flipped = bytearray(whole)
            flipped[place] ^= 1
            path.write_bytes(flipped)
            with pytest.raises(ArtifactError, match=path.name):
                load_guard(folder, loader=ScriptedScorer.load)
        path.write_bytes(whole)
    load_guard(folder, loader=ScriptedScorer.load)


def test_the_message_of_a_corrupt_file_has_both_hashes(tmp_path: Path) -> None:
    folder, manifest = saved(tmp_path)
    (folder / "card.md").write_text("# Pests\n")
    expected = manifest.files["card.md"]
    with pytest.raises(
        ArtifactError, match=f"card.md: corrupt: got sha256 .*, expected {expected}"
    ):
        load_guard(folder, loader=ScriptedScorer.load)


def test_missing_and_strange_files_are_named(tmp_path: Path) -> None:
    folder, _ = saved(tmp_path)
    (folder / "stages" / "deep" / "extra.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"does not name: stages/deep/extra\.json"):
        load_guard(folder, loader=ScriptedScorer.load)
    (folder / "stages" / "deep" / "scripted.json").unlink()
    with pytest.raises(ArtifactError, match=r"scripted\.json: missing"):
        load_guard(folder, loader=ScriptedScorer.load)


def rewrite(folder: Path, **values: object) -> None:
    """Change guard.json with a hash that fits."""
    from custodes.guard.folder import _digest

    path = folder / "guard.json"
    content = {**json.loads(path.read_text()), **values}
    del content["sha256"]
    path.write_text(json.dumps({**content, "sha256": _digest(content)}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "got a list, expected an object"),
        (b'{"format": 2}', "got format 2, expected 1"),
        (b"{}", "got format None"),
        (b'{"format": 1}', "corrupt or edited"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    folder, _ = saved(tmp_path)
    (folder / "guard.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stages": []}, "stages"),
        ({"files": {"../secret": "0"}}, "does not lie inside"),
        ({"files": {"/etc/passwd": "0"}}, "does not lie inside"),
        ({"policy": {"hold": 3}}, "policy.hold"),
        ({"more": 1}, "more"),
    ],
)
def test_a_manifest_of_another_form_is_refused(
    tmp_path: Path, values: dict[str, object], message: str
) -> None:
    folder, _ = saved(tmp_path)
    rewrite(folder, **values)
    with pytest.raises(ArtifactError, match=message):
        load_guard(folder, loader=ScriptedScorer.load)


def test_stages_are_what_the_manifest_says(tmp_path: Path) -> None:
    folder, _ = saved(tmp_path)
    entry = {"name": "deep", "folder": "stages/cheap", "weight": 1, "escalate_above": None}
    rewrite(folder, stages=[entry])
    with pytest.raises(ArtifactError, match="named 'cheap', expected 'deep'"):
        load_guard(folder, loader=ScriptedScorer.load)
    rewrite(folder, stages=[{**entry, "folder": "stages/none"}])
    with pytest.raises(ArtifactError, match="stage 'deep' has no files"):
        load_guard(folder, loader=ScriptedScorer.load)


def test_an_unreadable_manifest_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_manifest(tmp_path)


def test_guards_are_found_by_path_or_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = saved(tmp_path, name="pets")
    assert find_guard(folder) == folder
    assert find_guard(str(folder)) == folder
    with pytest.raises(ArtifactError, match=r"no guard found.*none is shipped"):
        monkeypatch.setattr("custodes.guard.folder._SHIPPED", tmp_path / "nothing")
        find_guard("pets")
    monkeypatch.setattr("custodes.guard.folder._SHIPPED", tmp_path)
    assert find_guard("pets") == folder
    with pytest.raises(ArtifactError, match=r"shipped guard .*pets"):
        find_guard("pest")


def test_stages_are_loaded_by_the_classifiers_unless_told_otherwise(tmp_path: Path) -> None:
    folder, _ = saved(tmp_path)
    with pytest.raises(ArtifactError, match=r"scorer\.json: missing"):
        load_guard(folder)
