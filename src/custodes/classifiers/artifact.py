"""Scorers on disk: a folder of `scorer.json` and `weights.safetensors`.

`scorer.json` holds a format number, the settings and the hash of the weights; the folder's
version is the hash of both. Never pickle. One format back is read.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import Field

from custodes.classifiers.base import Scorer
from custodes.classifiers.features import FEATURES
from custodes.classifiers.heads import Head
from custodes.classifiers.prompted import PROMPTED_FILE, PromptedScorer
from custodes.classifiers.scorer import Calibration, TokenScorer, Windows
from custodes.config import Config, write_atomically
from custodes.errors import ArtifactError, ConfigError
from custodes.types import Mode, RuleId

__all__ = ["FORMAT", "ScorerFile", "features_of", "load_scorer", "save_scorer"]

FORMAT = 1
_ADAPTER = "adapter."


class ScorerFile(Config):
    """The content of `scorer.json`."""

    format: int
    """Format number."""
    name: str
    """Stage name."""
    features: str
    """Name in the registry of features."""
    settings: dict[str, Any]
    """The features' settings."""
    rules: tuple[RuleId, ...]
    """Restricted rules, in the order of the head's outputs."""
    windows: Windows = Windows()
    """Smoothing by mode."""
    calibration: dict[Mode, Calibration] = Field(default_factory=dict)
    """Platt scaling by mode."""
    serves: tuple[Mode, ...] = tuple(Mode)
    """Modes that the stage judges in; not written where it is all, as older versions know no such
    field."""
    weights_sha256: str
    """Hash of `weights.safetensors`."""


def save_scorer(scorer: TokenScorer, folder: Path, *, features: str) -> str:
    """Write the scorer; returns its version."""
    from safetensors.numpy import save

    adapter = getattr(scorer.features, "adapter", {})
    named = {f"{_ADAPTER}{name}": value for name, value in adapter.items()}
    weights = save({**scorer.head.arrays(), **named})
    settings = scorer.features.settings
    content = ScorerFile(
        format=FORMAT,
        name=scorer.name,
        features=features,
        settings=settings,
        rules=scorer.rules,
        windows=scorer.windows,
        calibration=scorer.calibration,
        serves=scorer.serves,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )
    unsaid = {"serves"} if content.serves == tuple(Mode) else set()
    text = json.dumps(content.model_dump(mode="json", exclude=unsaid), indent=2) + "\n"
    write_atomically(folder / "weights.safetensors", weights)
    write_atomically(folder / "scorer.json", text)
    return _version(text)


def load_scorer(folder: Path) -> Scorer:
    """Read a scorer; `ArtifactError` where a file is missing, changed, or of another format."""
    if (folder / PROMPTED_FILE).is_file():
        return PromptedScorer.load(folder)
    from safetensors import SafetensorError
    from safetensors.numpy import load

    text = _read(folder / "scorer.json").decode("utf-8", "replace")
    content = _parse(folder / "scorer.json", text)
    weights = _read(folder / "weights.safetensors")
    found = hashlib.sha256(weights).hexdigest()
    if found != content.weights_sha256:
        raise ArtifactError(
            f"{folder / 'weights.safetensors'}: got sha256 {found}, expected "
            f"{content.weights_sha256}: the file was changed or cut; take a fresh copy"
        )
    try:
        arrays = load(weights)
        adapter = {
            name.removeprefix(_ADAPTER): arrays.pop(name)
            for name in sorted(arrays)
            if name.startswith(_ADAPTER)
        }
        head = Head.from_arrays(arrays)
    except (SafetensorError, TypeError) as error:
        raise ArtifactError(f"{folder / 'weights.safetensors'}: not a head: {error}") from error
    kind = FEATURES.load(content.features)
    features = kind(kind.Config.parse(content.settings, origin=str(folder / "scorer.json")))
    if adapter:
        features.adapt(adapter)
    return TokenScorer(
        name=content.name,
        version=_version(text),
        rules=content.rules,
        features=features,
        head=head,
        windows=content.windows,
        calibration=content.calibration,
        serves=content.serves,
    )


def _version(text: str) -> str:
    """`scorer.json` holds the weights' hash, so its own hash covers both files."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(
            f"{path}: missing; a scorer folder holds scorer.json and weights.safetensors"
        ) from None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error


def _parse(path: Path, text: str) -> ScorerFile:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ArtifactError(f"{path}: not JSON: {error}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        got = values.get("format") if isinstance(values, dict) else type(values).__name__
        raise ArtifactError(f"{path}: got format {got!r}, expected {FORMAT}; train again")
    try:
        return ScorerFile.parse(values, origin=str(path))
    except ConfigError as error:
        raise ArtifactError(str(error)) from error


def features_of(folder: Path) -> str:
    """The registry name of a saved scorer's features."""
    text = _read(folder / "scorer.json").decode("utf-8", "replace")
    return _parse(folder / "scorer.json", text).features
