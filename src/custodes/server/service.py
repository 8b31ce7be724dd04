"""What a gateway holds: settings, guard, upstreams, threads, keys, limits, metrics, events.

Made once a process; requests read it. The guard may be replaced while requests run: each keeps
the one that it began with.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from custodes.constitution import read, shipped
from custodes.errors import CustodesError
from custodes.guard import Guard
from custodes.server.auth import LOCAL, Key, KeyStore, authenticate, outranks
from custodes.server.config import GatewayConfig, KeyRole
from custodes.server.console.records import Records
from custodes.server.console.sessions import Sessions, Ticket, Viewer, console_secret
from custodes.server.events import EventSink, Origin, Recorder, describe, wordless
from custodes.server.hearing import Intake
from custodes.server.judging import JudgePool
from custodes.server.limits import Limiter, retry_after
from custodes.server.reviewing import Feed, Reviews
from custodes.server.telemetry import Metrics
from custodes.server.tracing import NoTracing, Tracing
from custodes.server.upstreams.base import Upstream
from custodes.server.watching import bind
from custodes.server.wire.base import RequestError, Ruling
from custodes.store.events import Event
from custodes.types import Conversation

__all__ = ["Chair", "Clock", "Parts", "Service"]

_log = logging.getLogger("custodes.server")
_ATTEMPTS = 10
"""Attempts to sign in that an address has in a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """`now`: seconds since 1970; `monotonic`: seconds that never go back."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class Chair:
    """A guard in office, with what it remembers of inputs; replaced whole."""

    def __init__(self, guard: Guard, config: GatewayConfig) -> None:
        self.policy_release = guard.policy.release
        policy = guard.policy.model_copy(update={"release": "checked"})
        self.guard = guard.replace(policy=policy)
        self.intake = Intake(self.guard, roles=config.judged_roles)
        self.names = _names(guard)


def _names(guard: Guard) -> dict[str, str]:
    """What the rules may be called: id, and title and text where the constitution is shipped."""
    names = {rule.casefold(): str(rule) for rule in guard.cascade.rules}
    path = shipped().get(guard.edition.id)
    constitution = read(path) if path is not None else None
    if constitution is None or constitution.version != guard.edition.version:
        return names
    for rule in constitution.restricted:
        if rule.id in guard.cascade.rules:
            names[rule.title.strip().casefold()] = rule.id
            names[rule.text.strip().casefold()] = rule.id
    return names


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a service is put together from.

    `guard` loads it, at the start and at every reload (None: nothing is judged). `keys` None: no
    key is asked for. `records`: where the sink's events can be read again. `reviews`: the desk
    that people judge at. `secret` signs the console's sessions.
    """

    guard: Callable[[], Guard] | None
    upstreams: Mapping[str, Upstream]
    keys: KeyStore | None
    sink: EventSink
    records: Records
    limiter: Limiter
    metrics: Metrics
    tracing: Tracing = field(default_factory=NoTracing)
    clock: Clock = field(default_factory=Clock)
    reviews: Reviews | None = None
    secret: str = field(default_factory=console_secret, repr=False)
    new_id: Callable[[], str] = lambda: uuid4().hex


class Service:
    """See the module."""

    def __init__(self, config: GatewayConfig, parts: Parts) -> None:
        self.config = config
        self.metrics = parts.metrics
        self.tracing = parts.tracing
        self.clock = parts.clock
        self.new_id = parts.new_id
        self.upstreams = dict(parts.upstreams)
        self.pool = JudgePool(threads=config.judge_threads, seconds=config.judge_seconds)
        self.recorder = Recorder(parts.sink, on_loss=self._lost)
        self.records = parts.records
        self.reviews = parts.reviews
        self.feed = None
        if config.review is not None and parts.reviews is not None:
            self.feed = Feed(config.review, parts.reviews)
        self.sessions = Sessions(parts.secret, now=parts.clock.now)
        self._sink = parts.sink
        self._load = parts.guard
        self._keys = parts.keys
        self._limiter = parts.limiter
        self._background: set[asyncio.Task[Any]] = set()
        self._reloading = asyncio.Lock()
        self.chair = self._seat(self._load) if self._load is not None else None
        self.closing = False

    def _seat(self, load: Callable[[], Guard]) -> Chair:
        guard = load()
        bind(guard, self.upstreams)
        return Chair(guard, self.config)

    # Requests

    async def admit(self, headers: Mapping[str, str], *, role: KeyRole = "client") -> Key:
        """The key that asks, within its limit; `RequestError` 401, 403 or 429."""
        key = await authenticate(headers, self._keys, role=role)
        per_minute = key.per_minute or self.config.per_minute
        if per_minute is None:
            return key
        await self._within_limit(
            key.id,
            per_minute,
            self.config.burst,
            lambda _: f"too many requests: {per_minute:g} a minute are allowed",
        )
        return key

    async def authenticate(self, headers: Mapping[str, str]) -> Key:
        """The key that asks, whatever its limit; `RequestError` 401."""
        return await authenticate(headers, self._keys)

    async def sign_in(self, token: str, *, address: str) -> str:
        """The cookie for a key of a reviewer or an admin; `RequestError` 401, 403 or 429.

        `address`: whose attempts are counted together.
        """
        await self._within_limit(
            f"sign-in {address}",
            _ATTEMPTS,
            _ATTEMPTS,
            lambda wait: f"too many attempts to sign in; wait {wait} s",
        )
        headers = {"authorization": f"Bearer {token}"}
        return self.sessions.issue(await authenticate(headers, self._keys, role="reviewer"))

    async def _within_limit(
        self, name: str, per_minute: float, burst: int, why: Callable[[str], str]
    ) -> None:
        """`RequestError` 429 where `name` has asked too often; `why`: from the seconds to wait."""
        wait = await self._limiter.take(name, per_minute=per_minute, burst=burst)
        if wait > 0:
            self.metrics.limited.inc()
            raise RequestError(
                why(retry_after(wait)),
                status=429,
                code="rate_limit_exceeded",
                headers={"retry-after": retry_after(wait)},
            )

    async def viewer(self, cookie: str | None) -> Viewer | None:
        """Whoever a cookie stands for: its key must live and still be of a role that may look."""
        if self._keys is None:
            return Viewer(key=LOCAL.id, role=LOCAL.role, word=self.sessions.local_word)
        ticket: Ticket | None = self.sessions.read(cookie)
        key = await self._keys.named(ticket.key) if ticket else None
        if ticket is None or key is None or not outranks(key.role, "reviewer"):
            return None
        return Viewer(key=key.id, role=key.role, word=ticket.word)

    @property
    def open_to_all(self) -> bool:
        """Whether no key is asked for."""
        return self._keys is None

    def pick(self, model: str, route: str) -> tuple[Upstream, str]:
        """The upstream for a model's name, and the name that it knows the model by."""
        prefix, slash, rest = model.partition("/")
        if slash and prefix in self.upstreams:
            found, name = self.upstreams[prefix], rest
        elif model in self.upstreams:
            found, name = self.upstreams[model], model
        else:
            found, name = self._that_lists(model), model
        if not found.serves(route):
            raise RequestError(
                f"the upstream {found.name} of model {model!r:.80} does not speak {route}",
                status=404,
                param="model",
                code="model_not_found",
            )
        return found, name

    def _that_lists(self, model: str) -> Upstream:
        settings = self.config.upstreams
        for name, upstream in self.upstreams.items():
            if model in settings[name].models:
                return upstream
        for name, upstream in self.upstreams.items():
            if not settings[name].models:
                return upstream
        raise RequestError(
            f"no upstream has the model {model!r:.80}; GET /v1/models lists them",
            status=404,
            param="model",
            code="model_not_found",
        )

    def explains(self, key: Key, headers: Mapping[str, str]) -> bool:
        """Whether the reply to this request carries the guard's object."""
        if self.config.explain == "ask":
            return key.explain and headers.get("custodes-explain", "") in ("1", "true")
        return self.config.explain == "always"

    def checked(self, chair: Chair | None) -> bool:
        """Whether text is held until a verdict covers it."""
        release = self.config.release or (chair.policy_release if chair else "checked")
        return release == "checked"

    # Verdicts

    def report(
        self,
        ruling: Ruling,
        *,
        key: Key,
        route: str,
        latency: float,
        text: str | None,
        said: Conversation = (),
    ) -> None:
        """Count a verdict and begin to record it; `latency` in seconds, `said`: what was judged
        with what came before it, for the people whom it may be shown to."""
        verdict = ruling.verdict
        self.metrics.verdicts.labels(
            verdict.mode.value, verdict.rule or "", verdict.action.value, key.mode
        ).inc()
        if verdict.failure is not None:
            self.metrics.failures.inc()
            _log.error("the guard failed", extra={"fields": {"why": wordless(verdict.failure)}})
        event = describe(
            ruling,
            id_=self.new_id(),
            at=self.clock.now(),
            origin=Origin(key.id, route, key.mode),
            latency_ms=latency * 1000,
            text=text,
        )
        self.recorder.record(event)
        if self.feed is not None:
            self.background(self.feed.offer(event, verdict, said))

    def _lost(self, event: Event, error: BaseException) -> None:
        self.metrics.events_lost.inc()
        _log.error(
            "an event could not be recorded",
            extra={"fields": {"event": event.id, "error": f"{type(error).__name__}: {error}"}},
        )

    # Operation

    def background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something that no client waits for; the shutdown does."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def reload(self) -> None:
        """Load the guard again; requests that run keep the old one. On failure it stays in
        office and the `CustodesError` is raised."""
        if self._load is None:
            return
        async with self._reloading:
            try:
                chair = await asyncio.to_thread(self._seat, self._load)
            except (CustodesError, OSError) as error:
                self.metrics.reloads.labels("failed").inc()
                _log.error("reload failed", extra={"fields": {"why": str(error)}})
                raise
            self.chair = chair
            self.metrics.reloads.labels("done").inc()
            _log.info("reloaded", extra={"fields": self.versions()})

    def versions(self) -> dict[str, str]:
        """Which constitution and which artifact judge new requests."""
        if self.chair is None:
            return {}
        guard = self.chair.guard
        return {"constitution": str(guard.edition), "artifact": guard.artifact}

    def problems(self) -> list[str]:
        """Why the gateway is not ready; empty where it is."""
        found = []
        if self.closing:
            found.append("closing")
        if not self.pool.healthy:
            found.append("every judging thread is stuck")
        if not self._records():
            found.append("events cannot be recorded")
        return found

    def _records(self) -> bool:
        """A sink that looks after itself is asked: it sees that it works again before any event
        comes, and none will come while nobody is sent here."""
        return bool(getattr(self._sink, "healthy", self.recorder.healthy))

    async def close(self) -> None:
        """Finish what is in the background, record every event, close every connection."""
        self.closing = True
        loop = asyncio.get_running_loop()
        until = loop.time() + self.config.drain_seconds
        while self._background and loop.time() < until:  # what ends may have begun something
            await asyncio.wait(self._background, timeout=until - loop.time())
        await self.recorder.close()
        for upstream in self.upstreams.values():
            await upstream.close()
        if not await self.pool.close(self.config.drain_seconds):
            _log.warning("judging goes on that nobody waits for; the process may end as aborted")
