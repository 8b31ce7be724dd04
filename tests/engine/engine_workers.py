"""Functions that the tests of the engines run in workers; importable there by name."""

import os
import signal
import time
from functools import partial
from pathlib import Path


def squares():
    return lambda rows: [row * row for row in rows]


def pids():
    """Tells the process, and how often it built the function."""
    built = os.environ["BUILT"] = str(int(os.environ.get("BUILT", "0")) + 1)
    return lambda rows: [(os.getpid(), built) for _ in rows]


def threads():
    return lambda rows: [os.environ.get("OMP_NUM_THREADS") for _ in rows]


def torch_threads():
    import torch

    return lambda rows: [torch.get_num_threads() for _ in rows]


def _slow(seconds, rows):
    time.sleep(seconds)
    return list(rows)


def slow(seconds):
    return partial(_slow, seconds)


def _fail_at(bad, rows):
    if bad in rows:
        raise ValueError(f"cannot do {bad}")
    return list(rows)


def failing(bad):
    return partial(_fail_at, bad)


def short():
    return lambda rows: rows[1:]


def broken():
    raise LookupError("no model here")


def unpicklable_results():
    return lambda rows: [lambda: 1 for _ in rows]


class Trap:
    """Can be pickled and not read back."""

    def __reduce__(self):
        return (broken, ())


def trapped_results():
    return lambda rows: [Trap() for _ in rows]


def _die_once(marker, bad, sign, rows):
    if bad in rows:
        try:
            Path(marker).touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            if sign == "exit":
                os._exit(7)
            os.kill(os.getpid(), signal.SIGKILL)
    return [row * row for row in rows]


def dying_once(marker, bad, sign="kill"):
    return partial(_die_once, marker, bad, sign)


def _die(bad, rows):
    if bad in rows:
        os._exit(7)
    return list(rows)


def dying(bad):
    return partial(_die, bad)


def _logged(folder, seconds, rows):
    for row in rows:
        (Path(folder) / f"{row}-{os.getpid()}-{time.time_ns()}").touch()
    time.sleep(seconds)
    return [[row, row * row] for row in rows]


def logged(folder, seconds=0.0):
    """Leaves a file for each row that is done, named row-pid-time."""
    return partial(_logged, folder, seconds)


def nodes():
    """Tells the node of the cluster that a row was done on, and the process."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    built = os.environ["BUILT"] = str(int(os.environ.get("BUILT", "0")) + 1)
    return lambda rows: [(row, node, os.getpid(), built) for row in rows]
