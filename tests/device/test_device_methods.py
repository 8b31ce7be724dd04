"""Guards and decompositions that are fitted on another device."""

import numpy as np
import pytest
from torch.testing import assert_close

from custodes.classifiers import (
    StageConfig,
    fit_stage,
    labelled_rows,
    load_scorer,
    save_scorer,
)
from custodes.errors import ConfigError
from custodes.methods.decomposition import APDConfig, SPDConfig, decompose
from custodes.types import Example, Message, Mode

ACTS = ("jump over the lazy dogs", "bite the lazy dogs")
ROWS = labelled_rows(
    [
        Example(
            id=str(n), source="s", kind="k", text=f"the {n} quick brown foxes {ACTS[n % 2]}",
            label=n % 2, rule="bites" if n % 2 else None,
        )
        for n in range(24)
    ]
)  # fmt: skip


# `auto` would be bfloat16 on whatever is no processor.
TUNED = {"rank": 2, "learning_rate": 0.01, "precision": "float32"}


def stage(features, settings, **changes):
    shared = {"name": "s", "epochs": 2, "batch_rows": 8, "learning_rate": 0.05}
    return StageConfig.parse({"features": features, "settings": settings, **shared, **changes})


def activations(model, device):
    backend = {"model": str(model), "threads": 1, "device": device}
    reading = {"model": "transformers", "settings": backend, "layers": [2], "stride": 4}
    return {**reading, "window": 64, "context_tokens": 20, "max_tokens": 40}


@pytest.mark.parametrize("loss", ["annealed_cummax", "ema_softmax"])
@pytest.mark.parametrize(
    ("features", "changes"),
    [
        ("hashed", {"head": "linear"}),
        ("hashed", {"head": "mlp", "hidden": 8}),
        ("activations", {"head": "linear"}),
        ("activations", {"adapter": TUNED}),
        ("encoder", {"adapter": TUNED}),
    ],
)
def test_a_stage_fitted_there(elsewhere, tiny_folder, tiny_bert, features, changes, loss):
    logits = []
    for device in ("cpu", elsewhere):
        settings = {
            "hashed": {"bits": 10},
            "activations": activations(tiny_folder, device),
            "encoder": {"model": {"folder": str(tiny_bert), "device": device}, "window": 24,
                        "stride": 8, "context_tokens": 6},
        }[features]  # fmt: skip
        config = stage(features, settings, device=device, loss=loss, **changes)
        scorer = fit_stage(ROWS, config, rules=("bites",), seed=0)
        asked = [(Message("user", f"the 9 quick brown foxes {act}"),) for act in ACTS]
        logits.append([point.logit for point in scorer.score(asked, Mode.INPUT)])
    assert abs(np.diff(logits[0])) > 1e-4
    assert logits[0] == pytest.approx(logits[1], rel=1e-3, abs=1e-4)


TINY = {
    "target": {"tms": {"features": 6, "hidden": 2, "steps": 20, "probability": 0.3}},
    "seeds": 2, "nulls": 1, "components": 7, "steps": 12, "batch": 32, "points": 4,
    "judged_rows": 32, "attack_steps": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "kind", "changes"), [("apd", APDConfig, {"rank": 2}), ("spd", SPDConfig, {})]
)
def test_a_decomposition_found_there(elsewhere, tmp_path, method, kind, changes):
    here, there = (
        decompose(method, kind.parse({**TINY, **changes, "device": device}), tmp_path / device)
        for device in ("cpu", elsewhere)
    )
    for name, tensor in here.decomposition.parameters.items():
        found = there.decomposition.parameters[name]
        assert found.device.type == "elsewhere"
        assert_close(found.cpu(), tensor, rtol=1e-3, atol=1e-5)
    assert here.judgment.figures.keys() == there.judgment.figures.keys()


@pytest.mark.parametrize("features", ["activations", "encoder"])
def test_a_stage_serves_where_this_machine_says(
    elsewhere, tiny_folder, tiny_bert, features, tmp_path, monkeypatch
):
    """It was fitted on a processor, or on a device that is not here."""
    monkeypatch.delenv("CUSTODES_DEVICE", raising=False)
    settings = {
        "activations": activations(tiny_folder, "cpu"),
        "encoder": {"model": {"folder": str(tiny_bert), "device": "cpu"}, "window": 24,
                    "stride": 8, "context_tokens": 6},
    }[features]  # fmt: skip
    scorer = fit_stage(ROWS, stage(features, settings, head="linear"), rules=("bites",), seed=0)
    save_scorer(scorer, tmp_path / "cpu", features=features)
    asked = [(Message("user", f"the 9 quick brown foxes {act}"),) for act in ACTS]
    here = [point.logit for point in load_scorer(tmp_path / "cpu").score(asked, Mode.INPUT)]
    text = (tmp_path / "cpu" / "scorer.json").read_text()
    assert text.count('"cpu"') == 1
    (tmp_path / "cpu" / "scorer.json").write_text(text.replace('"cpu"', '"cuda:99"'))
    with pytest.raises(ConfigError, match="by CUSTODES_DEVICE"):
        load_scorer(tmp_path / "cpu")
    for device in ("cpu", elsewhere):
        monkeypatch.setenv("CUSTODES_DEVICE", device)
        found = load_scorer(tmp_path / "cpu").score(asked, Mode.INPUT)
        assert [point.logit for point in found] == pytest.approx(here, rel=1e-4, abs=1e-5)
