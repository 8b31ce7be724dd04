"""The cache of dense features: hits, misses, kills, and two processes at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from custodes.classifiers import CachedFeatures, Judged, Tokens
from custodes.types import Message, Mode


class Counting:
    """Dense features, one token a character, that count the rows they were asked for."""

    dim = 2
    stride = 1
    max_tokens = 5
    settings: dict[str, object] = {"of": "counting"}  # noqa: RUF012
    cached = True

    def __init__(self, fingerprint: str = "counting-1") -> None:
        self.fingerprint = fingerprint
        self.asked: list[str] = []

    def open(self, context, mode):
        return "a stream"

    def extract(self, rows, *, limit=None):
        found = []
        for row in rows:
            text = row.conversation[-1].content
            self.asked.append(text)
            codes = np.array([ord(c) for c in text[:limit]], np.float32)
            found.append(Tokens(np.arange(1, len(codes) + 1), np.stack([codes, -codes], axis=1)))
        return found


def row(text, mode=Mode.INPUT, before=()):
    return Judged((*before, Message("user", text)), mode)


def opened(folder, **given):
    features = Counting(**given)
    return features, CachedFeatures(features, folder)


def test_what_is_known_is_not_computed_again(tmp_path):
    first, cache = opened(tmp_path)
    rows = [row("fox"), row(""), row("\ud800\U0001f98a")]
    computed = cache.extract(rows)
    assert sorted(first.asked) == sorted(r.conversation[-1].content for r in rows)
    assert cache.extract(rows)[0].values is not None
    assert len(first.asked) == 3
    second, fresh = opened(tmp_path)
    again = fresh.extract([*rows, row("dog"), row("fox")])
    assert second.asked == ["dog"]
    for one, other in zip(computed, again, strict=False):
        np.testing.assert_array_equal(one.ends, other.ends)
        np.testing.assert_array_equal(one.values, other.values)
    assert [len(tokens) for tokens in again] == [3, 0, 2, 3, 3]
    np.testing.assert_array_equal(again[4].values[:, 0], [ord(c) for c in "fox"])


def test_values_beyond_half_precision_are_cut(tmp_path):
    _, cache = opened(tmp_path)
    (tokens,) = cache.extract([row("\U0001f98a")])
    assert np.isfinite(tokens.values).all()
    assert tokens.values.max() == np.finfo(np.float16).max


def test_texts_without_a_token_alone_are_kept_too(tmp_path):
    _, cache = opened(tmp_path)
    assert len(cache.extract([row("")])[0]) == 0
    second, fresh = opened(tmp_path)
    assert len(fresh.extract([row("")])[0]) == 0
    assert second.asked == []


def test_nothing_asked_is_nothing_written(tmp_path):
    _, cache = opened(tmp_path / "cache")
    assert cache.extract([]) == []
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "other",
    [
        row("fox", Mode.OUTPUT),
        row("fox", before=(Message("user", "Hello"),)),
        Judged((Message("assistant", "fox"),), Mode.INPUT),
    ],
)
def test_mode_context_and_role_are_in_the_key(tmp_path, other):
    features, cache = opened(tmp_path)
    cache.extract([row("fox")])
    cache.extract([other])
    assert features.asked == ["fox", "fox"]


def test_limit_and_fingerprint_are_in_the_key(tmp_path):
    features, cache = opened(tmp_path)
    lengths = [len(cache.extract([row("foxes")], limit=limit)[0]) for limit in (2, 4, None, 2)]
    assert lengths == [2, 4, 5, 2]
    assert len(features.asked) == 3
    other, changed = opened(tmp_path, fingerprint="counting-2")
    changed.extract([row("foxes")], limit=2)
    assert other.asked == ["foxes"]


def test_it_passes_for_the_features_themselves(tmp_path):
    features, cache = opened(tmp_path)
    for name in ("dim", "stride", "fingerprint", "max_tokens", "settings", "cached"):
        assert getattr(cache, name) == getattr(features, name)
    assert cache.open((), Mode.INPUT) == "a stream"


def test_progress_hears_of_every_row(tmp_path):
    heard = []
    CachedFeatures(Counting(), tmp_path, heard.append).extract([row("fox"), row("dog")])
    CachedFeatures(Counting(), tmp_path, heard.append).extract([row("fox"), row("cow"), row("fox")])
    assert heard == [0, 2, 2, 1]


def shards(folder):
    return {suffix: sorted(folder.rglob(f"*{suffix}")) for suffix in (".npy", ".json")}


def test_values_without_an_index_are_ignored_and_written_anew(tmp_path):
    _, cache = opened(tmp_path)
    cache.extract([row("fox")])
    ((values,), (index,)) = shards(tmp_path).values()
    index.unlink()
    values.write_bytes(b"half")
    features, fresh = opened(tmp_path)
    fresh.extract([row("fox")])
    assert features.asked == ["fox"]
    third, whole = opened(tmp_path)
    assert len(whole.extract([row("fox")])[0]) == 3
    assert third.asked == []


WRITER = """
import os, sys, signal, pathlib
sys.path.insert(0, {tests!r})
from custodes.classifiers import cache
from test_classifiers_cache import Counting, row
kill = {kill!r}
written = cache.write_atomically
def write(path, content):
    if kill and path.suffix == ".json":
        os.kill(os.getpid(), signal.SIGKILL)
    written(path, content)
cache.write_atomically = write
texts = {texts!r}
cache.CachedFeatures(Counting(), pathlib.Path({folder!r})).extract([row(t) for t in texts])
"""


def writer(folder, texts, *, kill=False):
    given = {"tests": str(Path(__file__).parent), "kill": kill, "texts": texts}
    code = WRITER.format(folder=str(folder), **given)
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ.copy())


def test_a_kill_between_values_and_index_costs_that_shard_only(tmp_path):
    assert writer(tmp_path, ["fox"]).wait(60) == 0
    assert writer(tmp_path, ["dog"], kill=True).wait(60) == -signal.SIGKILL
    found = shards(tmp_path)
    assert (len(found[".npy"]), len(found[".json"])) == (2, 1)
    features, cache = opened(tmp_path)
    cache.extract([row("fox"), row("dog")])
    assert features.asked == ["dog"]


def test_two_processes_may_write_at_once(tmp_path):
    same = [f"fox {number}" for number in range(700)]
    running = [writer(tmp_path, same), writer(tmp_path, [*same, "dog"])]
    assert [process.wait(100) for process in running] == [0, 0]
    features, cache = opened(tmp_path)
    found = cache.extract([row(text) for text in [*same, "dog"]])
    assert features.asked == []
    assert [len(tokens) for tokens in found] == [len(text) for text in [*same, "dog"]]
