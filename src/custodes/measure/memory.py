"""How much memory this process took."""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["peak_memory"]


def peak_memory() -> int:
    """Peak resident memory of this process, in bytes, since it began its program.

    On Linux `VmHWM`: `ru_maxrss` of a process is never less than what its parent held when it
    started it, however little it takes itself.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(encoding="ascii"), re.M)
        if found:
            return int(found[1]) * 1024
    import resource  # not on every system

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
