"""Find the file of a public set: offline, else in the cache, else from its address.

The folder that CUSTODES_DATA_DIR names is looked at first, then the cache. What is downloaded is
checked before it takes its place, and is never half-written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import httpx2

from custodes.config import Config, cache_folder, digest
from custodes.config.atomic import neighbor
from custodes.data.atomic import replacing
from custodes.data.catalogue import DataSet, lookup
from custodes.data.tables import read, write
from custodes.data.upstream import read_upstream
from custodes.errors import DataError
from custodes.types import Example

__all__ = ["Places", "copy", "digest", "find", "load", "locate", "present"]

Progress = Callable[[int, int | None], None]
"""Told of bytes done and bytes in all (None where the server does not say)."""

_VARIABLE: Final = "CUSTODES_DATA_DIR"
_CONVERTED: Final = ".upstream.jsonl.gz"
_TIMEOUT: Final = 30.0  # seconds, for a connection and for each piece


class Places(Config):
    """Where sets are looked for."""

    folder: Path | None = None
    """A folder with gathered sets in it (`dev/advbench.jsonl.gz`...)."""
    cache: Path
    """What is downloaded goes here."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Places:
        """CUSTODES_DATA_DIR; and CUSTODES_CACHE_DIR, XDG_CACHE_HOME or ~/.cache for the cache."""
        given = os.environ if environment is None else environment
        folder = given.get(_VARIABLE)
        return cls(folder=Path(folder) if folder else None, cache=cache_folder(given) / "data")


def find(name: str, *, places: Places | None = None, verify: bool = True) -> Path:
    """The file (or folder) of the set of that name, see `locate`."""
    return locate(lookup(name), places=places, verify=verify)


def load(name: str, *, places: Places | None = None, verify: bool = True) -> list[Example]:
    """The rows of the set of that name; refuses no role. `DataError` where it has no examples."""
    dataset = lookup(name)
    if dataset.layout not in ("examples", "documents"):
        raise DataError(
            f"{name}: is a {dataset.layout} of {dataset.kind}, not a table of examples; "
            "take its path from find() or `custodes data get` and read it yourself"
        )
    path = locate(dataset, places=places, verify=verify)
    return read(path, unknown="keep", defaults={"kind": dataset.kind})


def present(dataset: DataSet, places: Places) -> Path | None:
    """Where the set lies on this machine, unchecked; None where it does not."""
    for base in (places.folder, places.cache):
        if base is not None:
            for path in (base / dataset.path, _converted(dataset, base)):
                if path.exists():
                    return path
    return None


def locate(
    dataset: DataSet,
    *,
    places: Places | None = None,
    verify: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Find the set, or download it; `DataError` says both hashes, or the address and what to set.

    A file whose SHA-256 is not the catalogue's is refused unless `verify` is false. A copy made
    from the makers' own file (`upstream`) has no hash to be held to: its name ends in
    `.upstream.jsonl.gz`, and it may hold rows that the gathered set leaves out.
    """
    places = places or Places.from_environment()
    if places.folder is not None and not places.folder.is_dir():
        raise DataError(f"{_VARIABLE}: got {places.folder}, expected a folder of data sets")
    path = present(dataset, places)
    if path is not None:
        if verify and not path.name.endswith(_CONVERTED):
            _check(dataset, path)
        return path
    if dataset.download is not None:
        return _download_same(dataset, dataset.download, places, verify=verify, progress=progress)
    if dataset.upstream is not None:
        return _download_upstream(dataset, dataset.upstream.address, places, progress)
    raise DataError(
        f"{dataset.name}: not on this machine, and custodes cannot download it. Get it from "
        f"{dataset.address}, put it at {dataset.path} in a folder, and let {_VARIABLE} name that "
        f"folder (now {places.folder or 'not set'})"
    )


def copy(dataset: DataSet, source: Path, folder: Path) -> Path:
    """Copy a located set below `folder`, so that CUSTODES_DATA_DIR may name that folder.

    No file is ever half-written.
    """
    target = folder / Path(dataset.path).parent / source.name
    if target.exists() and target.samefile(source):
        return target
    files = sorted(p for p in source.rglob("*") if p.is_file()) if source.is_dir() else [source]
    for file in files:
        with replacing(target / file.relative_to(source)) as temporary:
            shutil.copyfile(file, temporary)
    return target


def _check(dataset: DataSet, path: Path) -> None:
    got = digest(path)
    if got != dataset.sha256:
        raise DataError(
            f"{dataset.name}: {path} is not the file that the catalogue means: its SHA-256 is "
            f"{got}, expected {dataset.sha256}. Get it again, or pass verify=False (--no-verify) "
            "if you changed it on purpose"
        )


def _converted(dataset: DataSet, base: Path) -> Path:
    path = Path(dataset.path)
    return base / path.with_name(dataset.name + _CONVERTED)


def _download_same(
    dataset: DataSet, address: str, places: Places, *, verify: bool, progress: Progress | None
) -> Path:
    target = places.cache / dataset.path
    with replacing(target) as temporary:
        _download(dataset, address, temporary, progress)
        if verify:
            _check(dataset, temporary)
    return target


def _download_upstream(
    dataset: DataSet, address: str, places: Places, progress: Progress | None
) -> Path:
    target = _converted(dataset, places.cache)
    with neighbor(target) as raw:
        _download(dataset, address, raw, progress)
        write(target, read_upstream(dataset, raw))
    return target


def _download(dataset: DataSet, address: str, path: Path, progress: Progress | None) -> None:
    try:
        with (
            httpx2.stream(
                "GET",
                address,
                # as it lies there: a server that unpacks .gz on the way would spoil the hash
                headers={"accept-encoding": "identity"},
                timeout=_TIMEOUT,
                follow_redirects=True,
            ) as response,
            path.open("wb") as file,
        ):
            response.raise_for_status()
            size = response.headers.get("content-length")
            for piece in response.iter_bytes():
                file.write(piece)
                if progress is not None:
                    progress(response.num_bytes_downloaded, int(size) if size else None)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise DataError(
            f"{dataset.name}: cannot be downloaded from {address} "
            f"({type(error).__name__}: {error}). Where there is no network, put the set at "
            f"{dataset.path} in a folder and let {_VARIABLE} name that folder"
        ) from error
