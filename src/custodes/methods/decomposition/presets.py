"""The papers' settings by name, as plain values that a file or `--set` may change.

APD: arXiv 2501.14926, appendix D. SPD: arXiv 2506.20790, appendix "Training details". Not so of
`gated`, whose target is ours to choose: the paper's APD took 200,000 steps of 10,000 rows with a
top-k of .2217 and calls its example cherry-picked; ours are for a tenth of the steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from custodes.config import Config, load, override
from custodes.errors import ConfigError
from custodes.methods.decomposition.config import APDConfig, SPDConfig

__all__ = ["PRESETS", "preset_config", "preset_names"]

_SMALL = {"features": 5, "hidden": 2, "steps": 5000, "batch": 1024}
_LARGE = {"features": 40, "hidden": 10, "steps": 2000, "batch": 2048}
# SPD's paper trained its own.
_LONGER = {"steps": 10_000, "schedule": "constant"}
_SMALL_OF_SPD = {**_SMALL, **_LONGER}
_LARGE_OF_SPD = {**_LARGE, **_LONGER, "batch": 8192}


def _tms(shape: Mapping[str, Any], *, identity: bool = False) -> dict[str, Any]:
    return {"kind": "tms", "tms": {**shape, "identity": identity}}


def _residual(layers: int, neurons: int, features: int = 100, steps: int = 1000) -> dict[str, Any]:
    shape = {"layers": layers, "neurons": neurons, "features": features, "steps": steps}
    return {"kind": "residual-mlp", "residual": shape}


_SPD_SMALL = {
    "components": 20, "steps": 40_000, "batch": 4096, "rate": 1e-3, "schedule": "cosine",
    "importance": 3e-3, "p": 1.0, "tied_steps": 2,
}  # fmt: skip
_SPD_LARGE = {**_SPD_SMALL, "components": 200, "importance": 1e-4, "p": 2.0}
_SPD_RESIDUAL = {
    "batch": 2048, "rate": 1e-3, "importance": 1e-5, "p": 2.0, "schedule": "constant",
}  # fmt: skip

PRESETS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("apd", "tms-5-2"): {
        "target": _tms(_SMALL), "components": 5, "rank": 3, "steps": 20_000, "batch": 2048,
        "rate": 0.03, "warmup": 0.05, "top_k": 0.211, "simplicity": 0.7, "p": 1.0,
        "attributions": "components", "drawn_at_once": 12,
    },
    ("apd", "tms-40-10"): {
        "target": _tms(_LARGE), "components": 50, "rank": 11, "steps": 20_000, "batch": 2048,
        "rate": 1e-3, "schedule": "cosine", "warmup": 0.05, "top_k": 1.0, "minimality": 10.0,
        "simplicity": 20.0, "p": 0.9, "drawn_at_once": 3,
    },
    ("apd", "residual-mlp-1"): {
        "target": _residual(1, 50), "components": 130, "steps": 40_000, "batch": 2048,
        "rate": 1e-3, "top_k": 1.28, "simplicity": 10.0, "p": 0.9, "activations": 1.0,
        "unit_norm": True, "rank": 50,
    },
    ("apd", "gated"): {
        "target": {"kind": "gated"}, "components": 4, "rank": 8, "steps": 20_000, "batch": 2048,
        "rate": 3e-3, "top_k": 0.4, "faithfulness": 0.1, "minimality": 5.0, "simplicity": 5.0,
        "p": 1.0,
    },
    ("spd", "tms-5-2"): {**_SPD_SMALL, "target": _tms(_SMALL_OF_SPD)},
    ("spd", "tms-5-2-identity"): {
        **_SPD_SMALL, "target": _tms(_SMALL_OF_SPD, identity=True)
    },
    ("spd", "tms-40-10"): {**_SPD_LARGE, "target": _tms(_LARGE_OF_SPD)},
    ("spd", "tms-40-10-identity"): {
        **_SPD_LARGE, "target": _tms(_LARGE_OF_SPD, identity=True)
    },
    ("spd", "residual-mlp-1"): {
        **_SPD_RESIDUAL, "target": _residual(1, 50), "components": 100, "steps": 30_000,
        "rate": 2e-3,
    },
    ("spd", "residual-mlp-2"): {
        **_SPD_RESIDUAL, "target": _residual(2, 25), "components": 400, "steps": 50_000,
    },
    ("spd", "residual-mlp-3"): {
        **_SPD_RESIDUAL, "target": _residual(3, 17, 102, 10_000), "components": 500,
        "steps": 200_000, "importance": 5e-6, "gate_neurons": 128,
    },
    ("spd", "gated"): {
        "target": {"kind": "gated"}, "components": 16, "steps": 20_000, "batch": 2048,
        "schedule": "cosine", "importance": 3e-3, "p": 1.0,
    },
    ("spd", "embedded"): {
        "target": {"kind": "embedded"}, "components": 16, "steps": 10, "batch": 4, "seeds": 1,
        "nulls": 1, "judged_rows": 4, "attack_steps": 2, "importance": 1e-4, "p": 2.0,
        "p_final": 0.5, "delta": True, "warmup_steps": 10, "clip": 0.01, "frequency": 0.5,
        "adversarial": 0.5, "layerwise": 0.0, "points": 5, "rate": 1e-4,
    },
}  # fmt: skip
"""(method, name) -> settings. `embedded` is a smoke run of the later recipe, not a result."""


def preset_names(method: str) -> list[str]:
    """The presets of a method, in the order of the table."""
    return [name for of, name in PRESETS if of == method]


def preset_config(
    method: str, name: str, path: Path | None = None, assignments: Sequence[str] = ()
) -> APDConfig | SPDConfig:
    """The preset, changed by a YAML file and then by `a.b=1`; `ConfigError` for an unknown one."""
    if (method, name) not in PRESETS:
        raise ConfigError(
            f"{method}: got the preset {name!r}, expected one of {', '.join(preset_names(method))}"
        )
    values = dict(PRESETS[method, name])
    if path is not None:
        values = _merged(values, load(_Anything, path).model_dump())
    # Section by section: `target={seed: 1}` must not bring back the default network.
    for assignment in assignments:
        values = _merged(values, override({}, [assignment]))
    cls: type[APDConfig] | type[SPDConfig] = APDConfig if method == "apd" else SPDConfig
    return cls.parse(values, origin=f"{method} {name}")


class _Anything(Config):
    """A file's values as they are: they are checked once they stand in the preset."""

    model_config = ConfigDict(extra="allow")


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes` laid over them, section by section."""
    merged = dict(values)
    for name, value in changes.items():
        below = merged.get(name)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[name] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged
