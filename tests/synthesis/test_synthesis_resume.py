"""Killed (-9) at random moments, a synthesis goes on and ends as if nothing had happened."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from custodes.constitution import Constitution
from custodes.data import read
from custodes.synthesis import SynthesisConfig, synthesize

GARDENING = Path(__file__).parent / "gardening.yaml"
ROWS, BLOCK = 48, 8

SCRIPT = """
import sys
from pathlib import Path
from custodes.constitution import read
from custodes.synthesis import SynthesisConfig, synthesize

config = SynthesisConfig(rows=int(sys.argv[3]), block=int(sys.argv[4]))
synthesize(
    read(sys.argv[1]), config, Path(sys.argv[2]), progress=lambda done, _: print(done, flush=True)
)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(GARDENING), str(folder), str(ROWS), str(BLOCK)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_after(process: subprocess.Popen[str], lines: int, seconds: float) -> list[int]:
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(lines)]
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return told


def kill_at_the_end(process: subprocess.Popen[str], seconds: float) -> bool:
    assert process.stdout is not None
    while int(process.stdout.readline()) < 4 * ROWS:
        pass
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode in (0, -signal.SIGKILL)


def test_no_row_is_lost_or_doubled(gardening: Constitution, tmp_path: Path) -> None:
    rng = random.Random(7)
    folder = tmp_path / "killed"
    reached = [
        kill_after(start(folder), rng.randint(2, 6), rng.random() / 50)[-1] for _ in range(3)
    ]
    assert reached == sorted(reached), "what was done stayed done"
    assert 0 < reached[-1] < 4 * ROWS
    assert not (folder / "examples.parquet").exists()

    # Once more, while the shards are put together.
    assert kill_at_the_end(start(folder), rng.random() / 50)

    config = SynthesisConfig(rows=ROWS, block=BLOCK)
    told: list[int] = []
    path = synthesize(gardening, config, folder, progress=lambda done, _: told.append(done))
    assert told == [4 * ROWS]
    assert not list(folder.rglob("*.part"))

    whole = synthesize(gardening, config, tmp_path / "whole")
    assert path.read_bytes() == whole.read_bytes()
    assert len({row.id for row in read(path)}) == len(read(whole))
    for shard in (tmp_path / "whole" / "shards").rglob("*"):
        if shard.is_file():
            twin = folder / shard.relative_to(tmp_path / "whole")
            assert twin.read_bytes() == shard.read_bytes()
