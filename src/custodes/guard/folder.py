"""A guard as a folder: written whole or not at all, read only if every byte is what was written.

    guard.json          format, constitution, stages, policy, calibration, hash of every file
    card.md             for people: data, licences, figures, limits
    constitution.yaml   the constitution that the guard was made from, where it was given
    stages/NAME/...     one scorer's artifact each

`guard.json` also holds the hash of itself (of its values, without that field); this hash is the
guard's version. The hashes find damage and mistakes; they are no signature. This is the only
file of the guard that touches the disk or the real clock.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import (
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from custodes.classifiers.base import Scorer
from custodes.classifiers.scorer import Calibration
from custodes.config import Config, digest
from custodes.errors import ArtifactError, ConfigError
from custodes.guard.cascade import Cascade, Stage
from custodes.guard.guard import Edition, Guard
from custodes.guard.policy import Policy
from custodes.types import Mode

__all__ = [
    "Manifest",
    "find_guard",
    "load_guard",
    "read_manifest",
    "save_guard",
    "verify_guard",
]

_FORMAT = 1
_MANIFEST = "guard.json"
_CONSTITUTION = "constitution.yaml"
_SHIPPED = Path(__file__).parent / "shipped"


class StageEntry(Config):
    """One stage in `guard.json`."""

    name: str
    """The scorer's name."""
    folder: str
    """Where its artifact lies, relative to the guard's folder."""
    weight: float
    """See `Stage`."""
    escalate_above: float | None
    """See `Stage`."""
    alone: Mapping[Mode, float] = Field(default_factory=dict)
    """See `Stage`. Not written where it is empty: older versions read such guards too."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = write(self)
        return {name: value for name, value in values.items() if name != "alone" or value}


class Manifest(Config):
    """The content of `guard.json`."""

    format: Literal[1]
    """Version of this format."""
    constitution: Edition
    """What the guard was made from."""
    stages: tuple[StageEntry, ...] = Field(min_length=1)
    """First to last."""
    policy: Policy
    """What is done about a score."""
    calibration: Mapping[Mode, Calibration]
    """Mode -> calibration of the combined logit."""
    files: Mapping[str, str]
    """Every other file -> its sha256."""
    sha256: str
    """Hash of all other fields: the guard's version."""

    @field_validator("files")
    @classmethod
    def _inside(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name in value:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name:
                raise ValueError(f"{name!r} does not lie inside the guard's folder")
        return value


def find_guard(name: str | Path) -> Path:
    """The folder of a guard: a shipped one by its bare name (default), else a path."""
    shipped = _SHIPPED / str(name)
    if re.fullmatch(r"[a-z0-9_-]+", str(name)) and (shipped / _MANIFEST).is_file():
        return shipped
    folder = Path(name)
    if not (folder / _MANIFEST).is_file():
        known = sorted(path.parent.name for path in _SHIPPED.glob(f"*/{_MANIFEST}"))
        raise ArtifactError(
            f"{name}: no guard found; expected a folder with {_MANIFEST}, or the name of a shipped "
            f"guard ({', '.join(known) or 'none is shipped'})"
        )
    return folder


def is_shipped(folder: Path) -> bool:
    """Whether it lies in the package."""
    return folder.resolve().is_relative_to(_SHIPPED.resolve())


def constitution_of(folder: Path) -> Path | None:
    """The constitution that a guard's folder holds, where it holds one."""
    path = folder / _CONSTITUTION
    return path if path.is_file() else None


def read_manifest(folder: Path) -> Manifest:
    """Read and check `guard.json` alone; the files that it names are not looked at."""
    path = folder / _MANIFEST
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: corrupt: not JSON: {error}") from error
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ArtifactError(f"{path}: corrupt: got a {type(values).__name__}, expected an object")
    if values.get("format") != _FORMAT:
        raise ArtifactError(
            f"{path}: got format {values.get('format')!r}, expected {_FORMAT}; this guard was made "
            "by another version of custodes: train it again, or use that version"
        )
    expected = _digest({name: value for name, value in values.items() if name != "sha256"})
    if values.get("sha256") != expected:
        raise ArtifactError(
            f"{path}: corrupt or edited: it says sha256 {values.get('sha256')!r}, its content has "
            f"{expected!r}; restore it (another policy is given to load_guard, not written here)"
        )
    try:
        return Manifest.parse(values, origin=str(path))
    except ConfigError as error:
        raise ArtifactError(str(error)) from error


def verify_guard(folder: Path) -> Manifest:
    """Check every byte of a guard against `guard.json` without loading it; `ArtifactError`."""
    manifest = read_manifest(folder)
    _verify(folder, manifest)
    return manifest


def load_guard(
    path_or_name: str | Path,
    *,
    policy: Policy | None = None,
    loader: Callable[[Path], Scorer] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Guard:
    """Load a guard from its folder, or a shipped one by name.

    `policy` takes the place of the saved one; `loader` reads a stage's folder (by default
    `custodes.classifiers.load_scorer`). `ArtifactError` where anything is missing, corrupt, of
    another format, or not what `guard.json` says.
    """
    folder = find_guard(path_or_name)
    manifest = verify_guard(folder)
    load = loader or _default_loader()
    stages = []
    for entry in manifest.stages:
        scorer = load(folder / entry.folder)
        if scorer.name != entry.name:
            raise ArtifactError(
                f"{folder / entry.folder}: got a scorer named {scorer.name!r}, "
                f"expected {entry.name!r}"
            )
        stages.append(
            Stage(
                scorer=scorer,
                weight=entry.weight,
                escalate_above=entry.escalate_above,
                alone=entry.alone,
            )
        )
    return Guard(
        Cascade(stages),
        policy or manifest.policy,
        edition=manifest.constitution,
        artifact=manifest.sha256[:16],
        clock=clock,
        calibration=manifest.calibration,
    )


def save_guard(
    folder: Path,
    guard: Guard,
    *,
    scorers: Mapping[str, Path],
    card: str,
    constitution: Path | None = None,
) -> Manifest:
    """Write a guard's folder whole or not at all; an older guard at the same place is replaced.

    `scorers`: stage name -> the folder of its saved artifact, which is copied. `guard.artifact`
    is not used: the version follows from the content and stands in the manifest's `sha256`.
    """
    folder = folder.resolve()  # "." has no name, and stands in no folder
    if folder.exists() and not (folder / _MANIFEST).is_file():
        raise ArtifactError(f"{folder}: exists and is not a guard; give a new place or remove it")
    names = [stage.scorer.name for stage in guard.cascade.stages]
    if sorted(names) != sorted(scorers):
        raise ArtifactError(
            f"the guard's stages are {', '.join(names)}; got artifacts for "
            f"{', '.join(scorers) or 'none'}"
        )
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9_.-]*[A-Za-z0-9_-]", name):
            raise ArtifactError(f"the stage name {name!r} cannot name a folder; rename the scorer")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        for name, source in scorers.items():
            shutil.copytree(source, new / "stages" / name)
        (new / "card.md").write_text(card, encoding="utf-8")
        if constitution is not None:
            shutil.copyfile(constitution, new / _CONSTITUTION)
        manifest = _manifest(guard, new)
        text = json.dumps(manifest.model_dump(mode="json"), indent=2)
        (new / _MANIFEST).write_text(text + "\n", encoding="utf-8")
        _put(new, folder)
    return manifest


def _put(new: Path, folder: Path) -> None:
    """Move a whole folder to its place; what was there goes once the new one stands."""
    if not folder.exists():
        new.rename(folder)
        return
    # Beside it, not in a temporary folder: a kill between the two moves leaves both.
    old = folder.with_name(f".{folder.name}.before")
    shutil.rmtree(old, ignore_errors=True)
    folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _manifest(guard: Guard, folder: Path) -> Manifest:
    entries = [
        StageEntry(
            name=stage.scorer.name,
            folder=f"stages/{stage.scorer.name}",
            weight=stage.weight,
            escalate_above=stage.escalate_above,
            alone=stage.alone,
        )
        for stage in guard.cascade.stages
    ]
    draft = Manifest(
        format=_FORMAT,
        constitution=guard.edition,
        stages=tuple(entries),
        policy=guard.policy,
        calibration=guard.calibration,
        files={name: digest(folder / name) for name in _files(folder)},
        sha256="",
    )
    values = draft.model_dump(mode="json", exclude={"sha256"})
    return draft.model_copy(update={"sha256": _digest(values)})


def _verify(folder: Path, manifest: Manifest) -> None:
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{path}: missing; {_MANIFEST} names it: restore the whole folder")
        try:
            got = digest(path)
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read: {error}") from error
        if got != expected:
            raise ArtifactError(
                f"{path}: corrupt: got sha256 {got}, expected {expected}: restore the whole folder"
            )
    strange = sorted(set(_files(folder)) - manifest.files.keys() - {_MANIFEST})
    if strange:
        raise ArtifactError(
            f"{folder}: got files that {_MANIFEST} does not name: {', '.join(strange)}; remove them"
        )
    for entry in manifest.stages:
        if not any(name.startswith(f"{entry.folder}/") for name in manifest.files):
            raise ArtifactError(
                f"{folder / entry.folder}: missing; stage {entry.name!r} has no files"
            )


def _files(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _digest(values: Mapping[str, JsonValue]) -> str:
    canonical = json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _default_loader() -> Callable[[Path], Scorer]:
    from custodes import classifiers

    return classifiers.load_scorer
