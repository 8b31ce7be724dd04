"""The whole way into a folder: files, reuse, sameness, refusals."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from custodes.config import load
from custodes.constitution import Constitution
from custodes.data import read
from custodes.errors import ConfigError, DataError
from custodes.synthesis import SynthesisConfig, synthesize
from custodes.synthesis.shards import locked
from custodes.types import Mode, RuleId

CONFIG = SynthesisConfig(rows=40, block=16, held_out_transforms=("morse",))


def summary(folder: Path) -> dict[str, object]:
    values: dict[str, object] = json.loads((folder / "summary.json").read_text())
    return values


def shards(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in sorted((folder / "shards").rglob("*.parquet"))
    }


def test_the_folder_holds_rows_summary_and_settings(
    gardening: Constitution, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    path = synthesize(
        gardening, CONFIG, tmp_path / "out", progress=lambda done, total: told.append((done, total))
    )
    assert path == tmp_path / "out" / "examples.parquet"
    rows = read(path)
    found = summary(path.parent)
    assert found["rows"] == len(rows)
    assert found["planned"] == 160
    assert found["blocks"] == {"written": 11, "reused": 0}
    assert told[0] == (0, 160)
    assert told[-1] == (160, 160)
    for table in ("rule", "label", "kind", "side", "language", "style", "writer", "split"):
        counts = found[f"by_{table}"]
        assert isinstance(counts, dict)
        assert sum(counts.values()) == len(rows)
    dropped = found["dropped"]
    assert isinstance(dropped, dict)
    lost = sum(n for reason, n in dropped.items() if not reason.startswith("retried"))
    assert len(rows) + lost == 160
    assert load(SynthesisConfig, path.parent / "config.yaml") == CONFIG


def test_held_out_rows_are_marked(gardening: Constitution, tmp_path: Path) -> None:
    rows = read(synthesize(gardening, CONFIG, tmp_path))
    held = [row for row in rows if row.meta.get("split") == "held_out"]
    assert held
    assert all(("morse" in row.transforms) == (row in held) for row in rows)


def test_two_runs_of_one_seed_agree_byte_for_byte(gardening: Constitution, tmp_path: Path) -> None:
    for name in ("a", "b"):
        synthesize(gardening, CONFIG, tmp_path / name)
    files = sorted(
        p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file()
    )
    assert len(files) > 20
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    other = synthesize(gardening, CONFIG.model_copy(update={"seed": 1}), tmp_path / "c")
    assert other.read_bytes() != (tmp_path / "a" / "examples.parquet").read_bytes()


def test_a_second_run_writes_no_shard_again(gardening: Constitution, tmp_path: Path) -> None:
    first = synthesize(gardening, CONFIG, tmp_path).read_bytes()
    before = shards(tmp_path)
    assert synthesize(gardening, CONFIG, tmp_path).read_bytes() == first
    assert shards(tmp_path) == before
    assert summary(tmp_path)["blocks"] == {"written": 0, "reused": 11}


def test_changing_a_rule_rewrites_its_shards_only(gardening: Constitution, tmp_path: Path) -> None:
    synthesize(gardening, CONFIG, tmp_path)
    before = shards(tmp_path)
    mint, herbs, code = gardening.rules
    changed = code.model_copy(update={"text": "No code words for mint, ever."})
    synthesize(gardening.model_copy(update={"rules": (mint, herbs, changed)}), CONFIG, tmp_path)
    after = shards(tmp_path)
    assert summary(tmp_path)["blocks"] == {"written": 3, "reused": 8}
    assert before.items() <= after.items()
    assert {name.split("/")[1] for name in after.keys() - before.keys()} == {"mint_code"}


def test_growing_reuses_whole_blocks(gardening: Constitution, tmp_path: Path) -> None:
    synthesize(gardening, CONFIG.model_copy(update={"rows": 32}), tmp_path)
    synthesize(gardening, CONFIG.model_copy(update={"rows": 48}), tmp_path)
    assert summary(tmp_path)["blocks"] == {"written": 4, "reused": 8}


def test_more_rows_of_one_rule_rewrite_no_other_rule(
    gardening: Constitution, tmp_path: Path
) -> None:
    synthesize(gardening, CONFIG, tmp_path)
    before = shards(tmp_path)
    more = CONFIG.model_copy(update={"rows_of": {RuleId("mint_code"): 96}})
    synthesize(gardening, more, tmp_path)
    after = shards(tmp_path)
    assert before.items() <= after.items() and len(after) > len(before)
    assert {name.split("/")[1] for name in after.keys() - before.keys()} == {"mint_code"}


@pytest.mark.parametrize("damage", ["flip", "no card", "broken card"])
def test_a_damaged_shard_is_made_again(
    gardening: Constitution, tmp_path: Path, damage: str
) -> None:
    first = synthesize(gardening, CONFIG, tmp_path).read_bytes()
    before = shards(tmp_path)
    victim = tmp_path / next(iter(before))
    card = victim.with_suffix(".json")
    if damage == "flip":
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 1
        victim.write_bytes(bytes(data))
    elif damage == "no card":
        card.unlink()
    else:
        card.write_text("{")
    assert synthesize(gardening, CONFIG, tmp_path).read_bytes() == first
    assert summary(tmp_path)["blocks"] == {"written": 1, "reused": 10}


def test_what_a_killed_run_left_half_written_is_swept_away(
    gardening: Constitution, tmp_path: Path
) -> None:
    left = tmp_path / "shards" / "growing_mint" / ".0123.parquet.77.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"PAR1")
    synthesize(gardening, CONFIG, tmp_path)
    assert not left.exists()


def test_an_engine_gives_the_same_rows(gardening: Constitution, tmp_path: Path) -> None:
    here = synthesize(gardening, CONFIG, tmp_path / "here").read_bytes()
    config = SynthesisConfig.parse(
        {**CONFIG.model_dump(), "engine": {"kind": "local", "workers": 2}}
    )
    assert synthesize(gardening, config, tmp_path / "there").read_bytes() == here


def test_texts_of_two_rules_are_weighed_against_each_other(
    gardening: Constitution, tmp_path: Path
) -> None:
    mint, herbs, _ = gardening.rules
    grammar = {
        "en": herbs.grammar["en"].model_copy(
            update={
                "intents": (),
                "slots": {},
                "requests": ("A tomato, please.",),
                "statements": (),
            }
        )
    }
    twins = tuple(
        rule.model_copy(
            update={
                "grammar": grammar,
                "examples": (),
                "boundary_examples": (),
                "applies_to": (Mode.INPUT,),
            }
        )
        for rule in (mint, herbs)
    )
    torn = gardening.model_copy(update={"rules": twins})
    config = SynthesisConfig(rows=5, varied=0, tries=1)
    plain = [r for r in read(synthesize(torn, config, tmp_path)) if r.messages is None]
    assert plain == []
    dropped = summary(tmp_path)["dropped"]
    assert isinstance(dropped, dict)
    assert dropped["label_conflict"] >= 2


def test_a_folder_in_use_is_refused(gardening: Constitution, tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(DataError, match="another synthesis"):
        synthesize(gardening, CONFIG, tmp_path)


def test_a_file_in_the_way_is_refused(gardening: Constitution, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        synthesize(gardening, CONFIG, tmp_path / "file")


def test_settings_that_do_not_fit_leave_no_folder(gardening: Constitution, tmp_path: Path) -> None:
    config = SynthesisConfig(held_out_transforms=("sideways",))
    with pytest.raises(ConfigError, match="sideways"):
        synthesize(gardening, config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
