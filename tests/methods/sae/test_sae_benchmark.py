"""What benchmarks/sae keeps, refuses, and says of a run; on planted rows, without any model."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from custodes.measure import Figure, read_results, write_results

HERE = Path(__file__).parents[3] / "benchmarks" / "sae"


@pytest.fixture
def bench(monkeypatch):
    """Its modules by name; they are no package, and are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(HERE))
    for name in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "1")
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(HERE)):
            del sys.modules[name]


@pytest.fixture
def options(bench, tmp_path):
    def make(*given):
        return bench("run").arguments(["--work", str(tmp_path), *given])

    return make


@pytest.fixture
def trainings(bench, monkeypatch):
    """Seeds of every training that is run."""
    cells, found = bench("cells"), []
    real = cells.run_trainers

    def training(store, config, **others):
        found.append(config.seeds)
        return real(store, config, **others)

    monkeypatch.setattr(cells, "run_trainers", training)
    return found


def small(bench, **changed):
    return bench("cells").Cell(**{"latents": 24, "k": 3, "rows": 1280, **changed})


def test_one_more_seed_costs_its_own_training_and_its_pairs(bench, options, trainings, tmp_path):
    cells, cell = bench("cells"), small(bench)
    data = bench("stores").rows_of(options())
    first = cells.shared(options("--seeds", "0", "1"), data, cell)
    folder = tmp_path / "tiny" / "seeds" / cell.name
    made = (folder / "pair-0-1.json").stat().st_mtime_ns
    more = cells.shared(options("--seeds", "2", "0", "1"), data, cell)
    assert trainings == [(0, 1), (2,)]
    assert (folder / "pair-0-1.json").stat().st_mtime_ns == made
    assert len(more["shared"]) == 3 and len(more["L0"]) == 3
    assert more["agreement"][0] == first["agreement"][0]
    assert not list(folder.glob("checkpoint*")) and not list(folder.glob("pair-?-?"))
    alone = cells.shared(options("--seeds", "2", "1"), data, cell)
    assert alone["shared"] == more["shared"][2:], "rows are of the seeds that are asked for"
    assert len(trainings) == 2


def test_a_kill_between_two_seeds_keeps_the_first(bench, options, trainings, monkeypatch):
    cells, cell = bench("cells"), small(bench)
    data = bench("stores").rows_of(options())
    save, judged = cells.save_coder, []

    def killed(coder, folder, **others):
        if folder.name == "seed1":
            raise KeyboardInterrupt
        save(coder, folder, **others)

    monkeypatch.setattr(cells, "save_coder", killed)
    with pytest.raises(KeyboardInterrupt):
        cells.trained(options(), data, cell, [0, 1])
    monkeypatch.setattr(cells, "save_coder", save)
    quality = cells.quality
    monkeypatch.setattr(cells, "quality", lambda *given: judged.append(1) or quality(*given))
    _, found = cells.trained(options(), data, cell, [0, 1])
    assert trainings == [(0, 1), (1,)] and len(judged) == 1
    assert {one["rows"] for one in found} == {500}


def test_settings_have_folders_of_their_own_or_are_refused(bench, options, trainings, monkeypatch):
    changes = ({}, {"layer": 8}, {"rows": 1281}, {"k": 4}, {"kind": "relu"},
               {"kind": "relu", "sparsity": 2.0})  # fmt: skip
    assert len({small(bench, **change).name for change in changes}) == len(changes)
    cells, stores = bench("cells"), bench("stores")
    data = stores.rows_of(options())
    cells.trained(options(), data, small(bench), [0])
    with pytest.raises(SystemExit, match=r"settings\.json.*judged on"):
        cells.trained(options(), stores.Rows(
            store=data.store, trained=1280, start=data.start, stop=data.stop - 100
        ), small(bench), [0])  # fmt: skip
    monkeypatch.setattr(cells, "HELD_OUT", {"tiny": 400})
    with pytest.raises(SystemExit, match="held_out = 500, got 400"):
        cells.trained(options(), data, small(bench), [0, 1])
    assert trainings == [(0,)]


def test_what_was_kept_with_other_settings_is_refused(bench, tmp_path):
    once, path = bench("kept").once, tmp_path / "found.json"
    assert once(path, lambda: {"value": 1}, {"seeds": (0, 1)}) == {"value": 1}
    assert once(path, lambda: {"value": 2}, {"seeds": (0, 1)}) == {"value": 1}
    with pytest.raises(SystemExit, match=r"kept with seeds = \[0, 1\], got \[2\]"):
        once(path, lambda: {"value": 2}, {"seeds": (2,)})
    path.write_text('{"value": 1}')
    with pytest.raises(SystemExit, match="without its settings"):
        once(path, dict)


def test_more_rows_than_there_are_is_said(bench, options):
    with pytest.raises(SystemExit, match=r"rows: got 5,501.*5,500 to train on and 500 that judge"):
        bench("seeds").seeds(options("--rows", "5501"))


def test_the_axes_of_seeds(bench, options):
    given = options("--seeds", "0", "1", "2", "--rows", "640", "--layers", "6,7", "--sizes", "16")
    rows = {row["figure"]: row for row in bench("seeds").seeds(given)}
    one = rows["shared, topk F=64 k=4, layer 6"]["value"]
    assert one.low <= one.value <= one.high
    assert rows["null: shared with itself permuted, least of all settings"]["value"] == 1
    assert rows["null: shared, topk F=64 k=4"]["value"] < 0.2
    assert "agreement, topk F=64 k=4, half of the tokens" in rows
    assert {"shared: rise with size", "shared: rise with k", "shared: rise with tokens"} <= set(
        rows
    )
    promised = {name for name, *_ in bench("promised").PROMISED["seeds"] if "F=2304" not in name}
    assert promised <= set(rows)
    assert all(row["seeds"] == [0, 1, 2] for row in rows.values())
    with pytest.raises(SystemExit):
        options("--layers", "6,8")


def test_kinds_are_compared_at_equal_l0(bench, options):
    given = options("--rows", "640", "--penalties", "relu=0.3")
    rows = {row["figure"]: row["value"] for row in bench("seeds").kinds(given)}
    penalized = rows["L0, relu F=64"]
    assert f"L0, topk F=64 k={round(penalized)}" in rows and "shared: relu above topk" in rows


def test_wide_autoencoders_are_each_matched_once(bench, options, trainings, monkeypatch):
    scale, given = bench("scale"), options("--seeds", "0", "1", "2")
    asked = []

    def run(command, **_):
        asked.append(json.loads(command[2]))
        monkeypatch.setattr(sys, "argv", command[1:])
        scale.main()

    monkeypatch.setattr(scale.subprocess, "run", run)
    rows = {row["figure"]: row for row in scale.matching_trained(given)}
    again = {row["figure"]: row for row in scale.matching_trained(given)}
    assert again == rows and given.seeds == [0, 1, 2]
    assert [one["part"] for one in asked] == ["decoder", "encoder"] * 2
    assert trainings == [(0,), (1,)]
    assert rows["null: itself permuted: shared"]["value"] == 1
    assert rows["encoders: certified"]["value"] == 1
    assert rows["decoders: peak memory"]["value"] > 0.1
    assert {name for name, *_ in bench("promised").PROMISED["matching-trained"]} <= set(rows)
    found = bench("custodes.methods.sae")
    folder = Path(asked[0]["coders"][0]).parent
    pair = [found.load_coder(folder / f"seed{seed}") for seed in (0, 1)]
    overlap = found.compare(*pair)
    assert rows["shared"]["value"] == overlap.shared
    assert rows["agreement"]["value"] == pytest.approx(overlap.agreement)


def test_toy_rows_are_of_every_seed_that_was_ever_run(bench, options):
    toy = bench("toy").toy
    assert toy(options("--toy-seeds", "0"))[0]["seeds"] == [0]
    assert toy(options("--toy-seeds", "4", "5"))[0]["seeds"] == [0, 4, 5]


def test_the_command_holds_every_option_that_was_given(bench):
    given = ["--size", "full", "--only", "seeds,kinds", "--layers", "6,7", "--minilm=x/y",
             "--seeds", "0", "1", "--work", "w", "--store", "s"]  # fmt: skip
    found = bench("run").given_options(given)
    assert found == ["--layers", "6,7", "--minilm=x/y", "--seeds", "0", "1", "--store", "s"]


def test_declaring_adds_rows_and_leaves_the_others(bench, tmp_path):
    path = tmp_path / "results.json"
    there = Figure.of("seeds: shared: rise with size", -0.1, target="< 0", command="c")
    write_results(path, [there])
    bench("run").declare(path)
    rows = {row.figure: row for row in read_results(path)}
    assert rows["seeds: shared: rise with size"] == there
    added = rows["seeds: shared, topk F=2304 k=32, layer 9"]
    assert added.value is None and added.command.endswith("--size full --only seeds")
    assert rows["control: explained variance: control-matched over the least other"].met is False


def test_texts_without_the_shared_sets_are_refused(bench, monkeypatch, tmp_path):
    gather = bench("texts").gather
    monkeypatch.delenv("CUSTODES_DATA_DIR", raising=False)
    with pytest.raises(SystemExit, match="CUSTODES_DATA_DIR is not set"):
        next(gather())
    monkeypatch.setenv("CUSTODES_DATA_DIR", str(tmp_path))
    with pytest.raises(SystemExit, match="expected both"):
        next(gather())


def test_latents_of_two_networks_are_no_pairs(bench):
    """Sorted alike, paired resampling would take the spread for none."""
    first = list(np.linspace(0, 1, 50))
    found = bench("networks").apart([value + 0.05 for value in first], first[:40])
    assert found.value == pytest.approx(0.05 + np.mean(first) - np.mean(first[:40]))
    assert found.high - found.low > 0.15


def test_a_share_of_nothing_is_not_measured(bench, options, monkeypatch):
    networks = bench("networks")
    row = dict.fromkeys(networks.VARIANCES, 0.5)
    others = {"step-0": dict.fromkeys(networks.VARIANCES, 0.8)}
    monkeypatch.setattr(networks, "found_of", lambda _, name: [others.get(name, {**row})])
    assert networks.least_other(options(), "control", [row])[0]["value"] == 1
    others["trained"] = dict.fromkeys(networks.VARIANCES, -0.1)
    assert np.isnan(networks.least_other(options(), "control", [row])[0]["value"])
