"""A model in this process as an upstream: the embedded one, a scripted one, any of `MODELS`.

The model works on threads of the upstream's own and waits where the client is slow; a client that
leaves ends the reply at the model's next piece, streamed or whole. Text only: no tools.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from itertools import chain
from typing import Any, TypeVar

from pydantic import Field

from custodes.config import Config
from custodes.errors import ConfigError, ModelError, ModelRequestError, ModelServerError
from custodes.models import MODELS, Ending, GenerateModel, Sampling, StreamModel
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
        # A reply has its thread until it returns, whoever left meanwhile: no more than these write.
        self._threads = ThreadPoolExecutor(config.concurrency, f"custodes-{name}")

    def serves(self, route: str) -> bool:
        """It speaks every format."""
        return True

    async def models(self) -> list[str]:
        """The names that the settings give, else the upstream's."""
        return list(self._config.models) or [self.name]

    async def close(self) -> None:
        """Begin no further reply; those that nobody waits for end at their next piece."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def ask(self, call: Call) -> AsyncIterator[Answered]:
        """Ask; leaving the context ends the reply at the model's next piece.

        What the model does not take (a prompt that is too long) is the client's to mend: status
        400, with the model's words. A stream answers once its first piece is there.
        """
        speech = Speech(call.route, call.asked, id_=self._new_id(), created=int(self._clock()))
        stopped = threading.Event()
        try:
            if call.asked.stream:
                async with aclosing(self._pumped(call, speech, stopped)) as events:
                    yield await _begun(events)
            else:
                yield await self._answer(call, speech, stopped)
        finally:
            stopped.set()

    async def _answer(self, call: Call, speech: Speech, stopped: threading.Event) -> Answered:
        try:
            body = await self._in_thread(lambda: self._whole(call, speech, stopped))
        except ModelRequestError as error:
            return _refused(error)
        return Answered(status=200, body=body)

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

    def _whole(self, call: Call, speech: Speech, stopped: threading.Event) -> dict[str, Any]:
        """A whole reply, choice by choice; of one that nobody waits for only the beginning."""
        model = self.resident()
        if not isinstance(model, StreamModel):
            return self._generated(call, speech)
        sampling = self._sampling(call)
        prompt_tokens = self._prompt_tokens(call)
        texts: list[str] = []
        written: list[_Written] = []
        for lane in range(call.asked.choices):
            pieces = []
            written.append(_Written(self._pieces(call, lane, sampling)))
            for text in written[-1]:
                pieces.append(text)
                if stopped.is_set():
                    return {}
            texts.append("".join(pieces))
        return speech.whole(
            texts,
            cut_short=[each.cut_short for each in written],
            tokens=(prompt_tokens, sum(each.tokens for each in written)),
        )

    def _prompt_tokens(self, call: Call) -> int:
        """As far as the model tells, 0 where it does not."""
        prompt_ids = getattr(self.resident(), "prompt_ids", None)
        if prompt_ids is None:
            return 0
        prompts = [len(prompt_ids(each)) for each in call.asked.conversations]
        return sum(prompts) * call.asked.choices_each

    def _generated(self, call: Call, speech: Speech) -> dict[str, Any]:
        """By a model that writes whole replies alone, which cannot be ended on the way."""
        model = self.resident()
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

    def _pieces(
        self, call: Call, lane: int, sampling: Sampling
    ) -> Generator[str, None, Ending | None]:
        """A choice's text; what the passes hold is recorded before anybody is shown it."""
        model = self.resident()
        conversation = call.asked.conversations[lane // call.asked.choices_each]
        if not call.records:
            ending: Ending | None = yield from model.stream(conversation, sampling)
            return ending
        record = call.records[lane]
        passages = iter(
            model.watch(conversation, sampling, record.layers, prompt_tokens=record.prompt_tokens)
        )
        while True:
            try:
                passage = next(passages)
            except StopIteration as end:
                told: Ending | None = end.value
                return told
            record.add(passage)
            if passage.text:
                yield passage.text

    def _events(self, call: Call, speech: Speech, stopped: threading.Event) -> Iterator[Named]:
        model = self.resident()
        if not isinstance(model, StreamModel):
            raise ConfigError(f"upstream {self.name}: {self._config.model} cannot stream")
        sampling = self._sampling(call)
        prompt_tokens, total = self._prompt_tokens(call), 0
        for lane in range(call.asked.choices):
            written = _Written(self._pieces(call, lane, sampling))
            pieces = iter(written)
            first = next(pieces, "")  # before anything is said: the model may not take the prompt
            yield from speech.begin(lane, prompt_tokens)
            for text in chain([first] if first else [], pieces):
                yield speech.say(lane, text)
                if stopped.is_set():
                    return
            total += written.tokens
            yield from speech.end(lane, cut_short=written.cut_short, tokens=written.tokens)
        yield from speech.close((prompt_tokens, total))

    async def _in_thread(self, work: Callable[[], ResultT]) -> ResultT:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except ModelError:
            raise
        except (ConfigError, RuntimeError, OSError, ValueError) as error:
            raise ModelServerError(f"the model failed: {type(error).__name__}: {error}") from error

    async def _pumped(
        self, call: Call, speech: Speech, stopped: threading.Event
    ) -> AsyncGenerator[ServerEvent]:
        """The events of a reply that a thread writes, at most `_AHEAD` ahead."""
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[Named | None] = asyncio.Queue()
        room = threading.Semaphore(_AHEAD)

        def work() -> None:
            for named in self._events(call, speech, stopped):
                while not room.acquire(timeout=0.1):
                    if stopped.is_set():
                        return
                loop.call_soon_threadsafe(inbox.put_nowait, named)

        running = asyncio.ensure_future(self._in_thread(work))
        running.add_done_callback(lambda _: inbox.put_nowait(None))
        try:
            while (named := await inbox.get()) is not None:
                room.release()
                yield ServerEvent(*named)
            await running
        finally:
            stopped.set()
            running.cancel()


class _Written:
    """A choice's text as it comes, and at its end what the model told of it.

    A model that tells nothing has ended of itself, and a piece of it counts as a token.
    """

    def __init__(self, pieces: Generator[str, None, Ending | None]) -> None:
        self._pieces = pieces
        self._ending: Ending | None = None
        self._count = 0

    def __iter__(self) -> Iterator[str]:
        while True:
            try:
                piece = next(self._pieces)
            except StopIteration as end:
                self._ending = end.value
                return
            self._count += 1
            yield piece

    @property
    def cut_short(self) -> bool:
        """Whether its limit ended it."""
        return self._ending is not None and self._ending.finish == "length"

    @property
    def tokens(self) -> int:
        """How many it has."""
        told = self._ending.reply_tokens if self._ending is not None else None
        return self._count if told is None else told


async def _begun(events: AsyncGenerator[ServerEvent]) -> Answered:
    """A stream whose first event is there, or what the model said in its place."""
    try:
        first = await anext(events)
    except ModelRequestError as error:
        return _refused(error)

    async def all_of_it() -> AsyncIterator[ServerEvent]:
        yield first
        async for event in events:
            yield event

    return Answered(status=200, events=all_of_it())


def _refused(error: ModelRequestError) -> Answered:
    return Answered(status=400, body={"error": {"message": str(error)}})
