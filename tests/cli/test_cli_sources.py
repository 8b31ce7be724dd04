"""Where rows come from and results go: told before any work."""

import json
from pathlib import Path

import pytest

from custodes.cli.assessment import gather
from custodes.cli.sources import check_place
from custodes.errors import ConfigError, DataError


def test_a_place_that_takes_no_files_is_told_before_any_work():
    with pytest.raises(ConfigError, match="/proc takes no files"):
        check_place(Path("/proc/evaluation"))


def test_a_table_counts_once_and_rows_without_label_are_told(tmp_path, capsys):
    table = tmp_path / "rows.jsonl"
    row = {"source": "s", "kind": "prompt", "text": "Ants"}
    rows = [{**row, "id": "a", "label": 0}, {**row, "id": "b"}]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tables = gather([table], [], rows=None, seed=0)
    assert [len(found) for found in tables.values()] == [1]
    assert "rows: 1 rows without a label are left out" in capsys.readouterr().err
    with pytest.raises(DataError, match="one table twice"):
        gather([table, tmp_path / "." / "rows.jsonl"], [], rows=None, seed=0)
