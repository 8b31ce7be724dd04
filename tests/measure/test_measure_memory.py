"""The peak of a process is its own, not that of whoever started it."""

import subprocess
import sys

from custodes.measure import peak_memory


def test_the_peak_is_the_process_own():
    held = b"x" * 300_000_000
    assert peak_memory() > len(held)
    program = "from custodes.measure.memory import peak_memory; print(peak_memory())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert 1_000_000 < int(done.stdout) < 280_000_000
    del held


def test_what_was_given_back_counts():
    big = bytearray(b"x" * 100_000_000)
    before = peak_memory()
    del big
    assert peak_memory() >= before > 100_000_000
