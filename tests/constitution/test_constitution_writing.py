"""Writing: what is written is read back as the same constitution."""

from __future__ import annotations

from pathlib import Path

import pytest

from custodes.constitution import constitution_hash, read
from custodes.constitution.writing import to_yaml


@pytest.mark.parametrize("name", ["default", "fermentation"])
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    constitution = read(name)
    path = tmp_path / "constitution.yaml"
    path.write_text(to_yaml(constitution), encoding="utf-8")
    assert read(path) == constitution
    assert constitution_hash(read(path)) == constitution_hash(constitution)
    assert read(tmp_path) == constitution, "a folder that holds it is read, too"
