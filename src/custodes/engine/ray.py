"""The engine of a cluster: Ray Data with a pool of actors.

Every actor builds the function once, with the processors and GPUs that the configuration asks
for. Rows and results travel pickled in a binary column, so that they may be anything. Ray Data
has no source that grows as it is read, so rows go to the cluster window by window; the pool, and
the models in it, live as long as a window. Results stream back in order within it.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
import ray
import ray.data
from pydantic import Field
from ray import cloudpickle
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from custodes.config import Config
from custodes.engine.attempt import Failure, answer, attempt, checked, pack, rows_named, unpack
from custodes.engine.base import BatchFunction
from custodes.engine.batches import Batch, batches
from custodes.errors import EngineError

__all__ = ["RayConfig", "RayEngine"]

_SCHEMA = pa.schema([("index", pa.int64()), ("payload", pa.large_binary())])
_KNOCK_SECONDS = 10.0
_BLOCK = 32  # most batches in a block, the unit that Ray schedules and tries again


class RayConfig(Config):
    """Which cluster, and what each worker asks of it."""

    address: str = "local"
    """local: start Ray on this machine. auto: the cluster that this machine is a node of.

    Else an address (host:port, ray://host:port). Where the process is already connected to Ray,
    that connection is used and this is not looked at.
    """
    workers: int = Field(default=0, ge=0)
    """Actors in the pool; 0: as many as the cluster's free processors (and GPUs) can hold."""
    num_cpus: float = Field(default=1, ge=0)
    """Processors of each worker."""
    num_gpus: float = Field(default=0, ge=0)
    """GPUs of each worker; a fraction lets workers share one."""
    batch_size: int = Field(default=64, ge=1)
    """Rows handed to the function at once."""
    window: int = Field(default=4096, ge=1)
    """At most so many batches are read ahead; they wait in Ray's object store."""
    retries: int = Field(default=2, ge=0)
    """How often a block (up to 32 batches) is tried again when the actor that had it dies."""


class RayEngine:
    """Runs a batch function on a Ray cluster."""

    Config = RayConfig

    def __init__(self, config: RayConfig) -> None:
        self.config = config

    def map(self, factory: Callable[[], BatchFunction], rows: Iterable[Any]) -> Iterator[Any]:
        """One result a row, in order; `EngineError` names the rows that could not be done.

        Connects to Ray, or starts it, when the first result is asked for, and stays connected.
        """
        self._connect()
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        pickled = checked(attempt(lambda: cloudpickle.dumps(factory)), 0, 1)
        todo = batches(rows, self.config.batch_size)
        while window := list(islice(todo, self.config.window)):
            yield from self._run(pickled, window)

    def _connect(self) -> None:
        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        own = {"include_dashboard": False} if self.config.address == "local" else {}
        try:
            _knock(self.config.address)
            ray.init(address=self.config.address, log_to_driver=False, logging_level="ERROR", **own)
        except (OSError, ValueError, RuntimeError) as error:
            raise EngineError(
                f"no Ray cluster at address {self.config.address!r}: {error}; expected 'local', "
                "'auto' on a node of a running cluster, host:port or ray://host:port"
            ) from error

    def _run(self, factory: bytes, window: Sequence[Batch]) -> Iterator[Any]:
        workers = self._workers(len(window))
        # a few blocks a worker, so that none is idle while another has much left
        size = min(_BLOCK, math.ceil(len(window) / (4 * workers)))
        tables = [_table(window[i : i + size]) for i in range(0, len(window), size)]
        with warnings.catch_warnings():
            # deprecated without a successor: how else to bound the retries of a block that kills?
            warnings.simplefilter("ignore", RayDeprecationWarning)
            data = ray.data.from_arrow(tables).map_batches(
                _Mapper,
                fn_constructor_args=(factory,),
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=workers),
                num_cpus=self.config.num_cpus,
                num_gpus=self.config.num_gpus,
                max_restarts=-1,
                max_task_retries=self.config.retries,
            )
        data.context.execution_options.preserve_order = True
        data.context.enable_progress_bars = False
        given = 0
        try:
            for block in data.iter_batches(batch_size=None, batch_format="pyarrow"):
                for index, payload in zip(
                    *(block[c].to_pylist() for c in _SCHEMA.names), strict=True
                ):
                    batch = window[given]
                    if index != batch.index:
                        raise EngineError(f"Ray gave batch {index} where {batch.index} was due")
                    yield from checked(unpack(payload), batch.start, len(batch.rows))
                    given += 1
        except RayError as error:
            left = window[given:]
            rows = rows_named(left[0].start, sum(len(batch.rows) for batch in left))
            raise EngineError(
                f"Ray gave up with {rows} still to do: {type(error).__name__}: {error}"
            ) from error

    def _workers(self, most: int) -> int:
        if self.config.workers:
            return min(self.config.workers, most)
        there = ray.cluster_resources()
        asked = {"CPU": self.config.num_cpus, "GPU": self.config.num_gpus}
        fits = [int(there.get(name, 0) / amount) for name, amount in asked.items() if amount]
        if fits and min(fits) < 1:
            raise EngineError(
                f"the cluster cannot hold one worker: it has {there.get('CPU', 0):g} processors "
                f"and {there.get('GPU', 0):g} GPUs, a worker asks for {asked['CPU']:g} and "
                f"{asked['GPU']:g}; ask for less, or set workers where the cluster grows on demand"
            )
        return min([*fits, most])


def _knock(address: str) -> None:
    """Fail at once where nobody listens: Ray itself would try for minutes."""
    if address not in ("local", "auto"):
        host, colon, port = address.rpartition("//")[2].rpartition(":")
        if not colon or not port.isdecimal():
            raise ValueError("not of the form host:port")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS):
            pass


class _Mapper:
    """What an actor holds: the function, or why it could not be built."""

    def __init__(self, factory: bytes) -> None:
        self._function: BatchFunction | Failure = attempt(lambda: _build(factory))

    def __call__(self, table: pa.Table) -> pa.Table:
        payloads = [answer(self._function, payload) for payload in table["payload"].to_pylist()]
        return pa.table([table["index"], payloads], schema=_SCHEMA)


def _build(factory: bytes) -> BatchFunction:
    function: BatchFunction = cloudpickle.loads(factory)()
    return function


def _table(block: Sequence[Batch]) -> pa.Table:
    payloads = [pack(lambda rows=batch.rows: rows) for batch in block]  # type: ignore[misc]
    return pa.table([[batch.index for batch in block], payloads], schema=_SCHEMA)
