"""The catalogue of public sets: what there is, whose it is, and what may be done with it.

Knows the sets only by `catalogue.yaml` beside this file; finding their files is `fetching.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import yaml
from pydantic import Field

from custodes.config import Config
from custodes.errors import DataError

__all__ = ["DataSet", "Upstream", "catalogue", "lookup"]


class Upstream(Config):
    """Where the makers keep their own file of a set, and what reads it."""

    address: str
    """A file, not a page."""
    loader: str
    """A name in `upstream.LOADERS`."""


class DataSet(Config):
    """One public set, as gathered and normalised: one file (or folder) of known content."""

    name: str
    """Unique in the catalogue."""
    role: Literal["train", "dev", "other"]
    """train: a pool to train on. dev: to measure on; never trained on. other: no examples.

    Loading refuses nothing: who trains on a `dev` set spoils his own figures.
    """
    path: str
    """Where the set lies, relative to the folder of data."""
    layout: Literal["examples", "documents", "file", "folder"]
    """examples: a table. documents: rows of text with no label. file, folder: not for `load`."""
    address: str
    """The makers' page, for people."""
    licence: str
    """As the gathered copy states it."""
    releasable: bool
    """Whether weights trained on the set may be released.

    True where the licence permits it. False where it forbids commercial use (Alpaca, LIMA,
    ToxicChat...), where it is copyleft (GPL, CC-BY-SA), and where none is stated: then nobody
    gave leave. What a released artifact was trained on stands on its card.
    """
    kinds: tuple[str, ...] = Field(min_length=1)
    """The kinds of its rows, the most frequent first."""
    rows: int
    """How many the gathered set has; a copy made from `upstream` may have more."""
    sha256: str
    """Of the gathered file; of a folder, see `custodes.config.digest`."""
    download: str | None = None
    """A direct address of the very same file, where there is one."""
    upstream: Upstream | None = None
    """The makers' own file, where custodes can read it."""

    @property
    def kind(self) -> str:
        """The most frequent kind of row."""
        return self.kinds[0]


@cache
def catalogue() -> Mapping[str, DataSet]:
    """Every set by its name, in the order of the file: dev, train, other."""
    entries = yaml.safe_load(Path(__file__).with_name("catalogue.yaml").read_text("utf-8"))
    sets = [DataSet.parse(entry, origin=f"catalogue.yaml: {entry['name']}") for entry in entries]
    return MappingProxyType({dataset.name: dataset for dataset in sets})


def lookup(name: str) -> DataSet:
    """The set of that name; `DataError` with the names that are like it."""
    known = catalogue()
    if name in known:
        return known[name]
    alike = get_close_matches(name, known, n=3)
    hint = f"; did you mean {' or '.join(alike)}?" if alike else ""
    raise DataError(f"no data set {name!r} in the catalogue{hint} (`custodes data list` shows all)")
