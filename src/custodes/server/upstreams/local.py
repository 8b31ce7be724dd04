"""A model in this process as an upstream: the embedded one, a scripted one, any of `MODELS`.

The model works on a thread of its own and waits where the client is slow; a client that leaves
ends the reply at the model's next piece. Text only: no tools.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pydantic import Field

from custodes.config import Config
from custodes.errors import ConfigError, ModelError, ModelServerError
from custodes.models import MODELS, GenerateModel, Sampling, StreamModel
from custodes.models.sse import ServerEvent
from custodes.server.upstreams.base import Answered, Call
from custodes.server.wire.speech import Named, Speech

__all__ = ["LocalUpstream", "LocalUpstreamConfig"]

ResultT = TypeVar("ResultT")

_AHEAD = 64
"""Events that the model may be ahead of the client."""


class LocalUpstreamConfig(Config):
    """Which model, and how many replies it writes at once."""

    model: str = "embedded"
    """A name of custodes' model registry (embedded, scripted, transformers ...)."""
    settings: Mapping[str, Any] = Field(default_factory=dict)
    """The model's own settings."""
    models: tuple[str, ...] = ()
    """Model names that are sent here; empty: those that no other upstream names."""
    concurrency: int = Field(default=2, ge=1)
    """Replies at once; further requests wait."""
    max_tokens: int = Field(default=256, ge=1)
    """Where the client names no limit."""


class LocalUpstream:
    """One model in this process, loaded at the first request; safe in one event loop."""

    Config = LocalUpstreamConfig

    def __init__(
        self,
        config: LocalUpstreamConfig,
        *,
        name: str,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self.name = name
        self._config = config
        self._clock = clock
        self._new_id = new_id
        self._model: Any = None
        self._loading = threading.Lock()
        self._free = asyncio.Semaphore(config.concurrency)

    def serves(self, route: str) -> bool:
        """It speaks every format."""
        return True

    async def models(self) -> list[str]:
        """The names that the settings give, else the upstream's."""
        return list(self._config.models) or [self.name]

    async def close(self) -> None:
        """Nothing is held open."""

    @asynccontextmanager
    async def ask(self, call: Call) -> AsyncIterator[Answered]:
        """Ask; leaving the context ends the reply at the model's next piece."""
        speech = Speech(call.route, call.asked, id_=self._new_id(), created=int(self._clock()))
        async with self._free:
            if not call.asked.stream:
                yield Answered(status=200, body=await _in_thread(lambda: self._whole(call, speech)))
                return
            stopped = threading.Event()
            try:
                events = _pumped(lambda: self._events(call, speech, stopped), stopped)
                yield Answered(status=200, events=events)
            finally:
                stopped.set()

    def resident(self) -> Any:
        """The model itself, loaded if it is not yet."""
        with self._loading:
            if self._model is None:
                kind = MODELS.load(self._config.model)
                settings = kind.Config.parse(self._config.settings, origin=f"upstream {self.name}")
                self._model = kind(settings)
            return self._model

    def _sampling(self, call: Call) -> Sampling:
        asked = call.asked
        return Sampling(
            max_tokens=asked.max_tokens or self._config.max_tokens,
            temperature=asked.temperature,
            stop=asked.stop,
        )

    def _whole(self, call: Call, speech: Speech) -> dict[str, Any]:
        model = self.resident()
        if call.records:
            return self._watched(call, speech)
        if not isinstance(model, GenerateModel):
            raise ConfigError(f"upstream {self.name}: {self._config.model} cannot generate")
        conversations = [
            c for c in call.asked.conversations for _ in range(call.asked.choices_each)
        ]
        replies = model.generate(conversations, self._sampling(call))
        return speech.whole(
            [reply.text for reply in replies],
            cut_short=[reply.finish == "length" for reply in replies],
            tokens=(
                sum(reply.prompt_tokens or 0 for reply in replies),
                sum(reply.reply_tokens or 0 for reply in replies),
            ),
        )

    def _watched(self, call: Call, speech: Speech) -> dict[str, Any]:
        """A whole reply whose passes are recorded: choice by choice."""
        sampling = self._sampling(call)
        pieces = [list(self._pieces(call, lane, sampling)) for lane in range(call.asked.choices)]
        counts = [len(each) for each in pieces]
        prompts = [len(self.resident().prompt_ids(each)) for each in call.asked.conversations]
        return speech.whole(
            ["".join(each) for each in pieces],
            cut_short=[count >= sampling.max_tokens for count in counts],
            tokens=(sum(prompts) * call.asked.choices_each, sum(counts)),
        )

    def _pieces(self, call: Call, lane: int, sampling: Sampling) -> Iterator[str]:
        """A choice's text; what the passes hold is recorded before anybody is shown it."""
        model = self.resident()
        conversation = call.asked.conversations[lane // call.asked.choices_each]
        if not call.records:
            yield from model.stream(conversation, sampling)
            return
        record = call.records[lane]
        for passage in model.watch(
            conversation, sampling, record.layers, prompt_tokens=record.prompt_tokens
        ):
            record.add(passage)
            if passage.text:
                yield passage.text

    def _events(self, call: Call, speech: Speech, stopped: threading.Event) -> Iterator[Named]:
        model = self.resident()
        if not isinstance(model, StreamModel):
            raise ConfigError(f"upstream {self.name}: {self._config.model} cannot stream")
        sampling = self._sampling(call)
        total = 0
        for lane in range(call.asked.choices):
            yield from speech.begin(lane)
            count = 0
            for text in self._pieces(call, lane, sampling):
                count += 1
                yield speech.say(lane, text)
                if stopped.is_set():
                    return
            total += count
            yield from speech.end(lane, cut_short=count >= sampling.max_tokens, tokens=count)
        yield from speech.close(total)


async def _in_thread(work: Callable[[], ResultT]) -> ResultT:
    try:
        return await asyncio.to_thread(work)
    except ModelError:
        raise
    except (ConfigError, RuntimeError, OSError, ValueError) as error:
        raise ModelServerError(f"the model failed: {type(error).__name__}: {error}") from error


async def _pumped(
    make: Callable[[], Iterator[Named]], stopped: threading.Event
) -> AsyncIterator[ServerEvent]:
    """Run an iterator on a thread of its own, at most `_AHEAD` events ahead."""
    loop = asyncio.get_running_loop()
    inbox: asyncio.Queue[Named | None] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)

    def put(item: Named | None) -> None:
        loop.call_soon_threadsafe(inbox.put_nowait, item)

    def work() -> None:
        try:
            for named in make():
                while not room.acquire(timeout=0.1):
                    if stopped.is_set():
                        return
                put(named)
        finally:
            put(None)

    running = asyncio.ensure_future(_in_thread(work))
    try:
        while (named := await inbox.get()) is not None:
            room.release()
            yield ServerEvent(*named)
        await running
    finally:
        stopped.set()
        if not running.done():
            running.add_done_callback(lambda done: done.cancelled() or done.exception())
