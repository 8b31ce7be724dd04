"""runs/answered.py: a model's own replies to a synthesis' prompts, as exchanges to train on."""

import json
import subprocess
import sys
from pathlib import Path

from custodes.data import conversation, read, write
from custodes.types import Example, Message, RuleId

SCRIPT = Path(__file__).parents[2] / "runs/answered.py"


def prompt(number, rule, label, **more):
    return Example(
        id=f"p{number}",
        source="synthetic",
        kind="request",
        messages=(Message("user", f"Question {number}?"),),
        label=label,
        group=f"g{number}",
        rule=RuleId(rule),
        **more,
    )


def test_plain_prompts_are_answered_evenly_and_replies_are_kept(tmp_path):
    rows = [prompt(n, "ant", 1) for n in range(6)] + [prompt(n, "bee", 0) for n in range(6, 9)]
    rows.append(prompt(9, "bee", 0, transforms=("rot13",)))
    write(tmp_path / "examples.parquet", rows)
    script = {"otherwise": "So it is."}
    command = [
        sys.executable,
        str(SCRIPT),
        str(tmp_path / "examples.parquet"),
        str(tmp_path / "out.parquet"),
        "--rows=4",
        f"--model=scripted={json.dumps(script)}",
    ]
    environment = {"PATH": "", "CUSTODES_CACHE_DIR": str(tmp_path / "cache")}
    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "4 of 4 replies" in first.stdout and "8 rows" in first.stdout
    found = read(tmp_path / "out.parquet")
    both = [row for row in found if len(conversation(row)) == 2]
    assert sorted(str(row.rule) for row in both) == ["ant", "ant", "bee", "bee"]
    assert {row.kind for row in both} == {"harmful_exchange", "benign_exchange"}
    by_id = {row.id: row for row in rows}
    for row in found:
        asked = by_id[row.id.partition("-")[0]]
        assert (row.label, row.group, row.rule) == (asked.label, asked.group, asked.rule)
        assert conversation(row)[-1] == Message("assistant", "So it is.")
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "replies" not in again.stdout and "8 rows" in again.stdout
