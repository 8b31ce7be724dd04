"""Ask a model over HTTP: time-outs, retries and typed errors, the same for every wire format.

Retries (exponential back-off with full jitter; `retry-after` honored) happen only where the server
refused for the moment (408, 409, 429, 5xx) or could not be connected to: never once a good answer
has begun, so that no byte of a stream is ever given twice. Knows no vendor's JSON.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2
from pydantic import Field

from custodes.config import Config
from custodes.errors import (
    ConfigError,
    ModelError,
    ModelRequestError,
    ModelServerError,
    ModelTimeoutError,
)
from custodes.models.answer import Answer
from custodes.models.sse import EventDecoder, ServerEvent

__all__ = ["Remote", "RemoteConfig", "Timing", "retry_after_seconds"]

_RETRIED = frozenset({408, 409, 429})
_SHOWN = 300  # characters of a server's message that an error repeats
_REFUSAL_BYTES = 65536

RowT = TypeVar("RowT")
ResultT = TypeVar("ResultT")


class RemoteConfig(Config):
    """A server, and how patient to be with it."""

    model: str
    """The model's name on the server."""
    base_url: str = Field(pattern=r"^https?://")
    """The address up to and including the version, such as http://127.0.0.1:8000/v1."""
    api_key_env: str | None
    """The environment variable that holds the key; null where the server asks for none."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Further headers of every request; no secrets here: this file is saved beside results."""
    body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request's body; null takes a field out."""
    concurrency: int = Field(default=8, ge=1)
    """At most so many requests at once in `generate`."""
    attempts: int = Field(default=5, ge=1)
    """At most so many tries of one request; 1 never retries."""
    backoff: float = Field(default=0.5, ge=0)
    """Seconds; the n-th wait is drawn from 0 to backoff * 2^(n-1)."""
    backoff_limit: float = Field(default=30.0, ge=0)
    """Seconds; no drawn wait is longer. A server's `retry-after` may be."""
    connect_timeout: float = Field(default=10.0, gt=0)
    """Seconds to reach the server."""
    read_timeout: float = Field(default=120.0, gt=0)
    """Seconds of silence."""
    total_timeout: float = Field(default=600.0, gt=0)
    """Seconds for one reply, waits and retries included."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Where time and chance come from; tests give their own.

    `clock` counts seconds from anywhere, `now` from the epoch, `chance` draws from [0, 1).
    """

    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random


def retry_after_seconds(value: str | None, *, now: float) -> float | None:
    """Seconds that a `retry-after` header asks for (RFC 9110, 10.2.3); None if unreadable."""
    if value is None:
        return None
    value = value.strip()
    if value.replace(".", "", 1).isdecimal() and value.isascii():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _key(config: RemoteConfig) -> str | None:
    if config.api_key_env is None:
        return None
    key = os.environ.get(config.api_key_env, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"api_key_env: the environment variable {config.api_key_env} is "
            f"{'not a key (odd characters)' if key else 'not set'}; set it to the API key, or set "
            "api_key_env to null where the server asks for none"
        )
    return key


class Remote:
    """A connection pool to one server; safe in many threads."""

    def __init__(
        self,
        config: RemoteConfig,
        *,
        authorize: Callable[[str], Mapping[str, str]],
        timing: Timing,
    ) -> None:
        """`authorize` turns the key into headers."""
        self._config = config
        self._timing = timing
        self._key = _key(config)
        self._base = config.base_url.rstrip("/")
        headers = dict(authorize(self._key)) if self._key is not None else {}
        try:
            self._client = httpx2.Client(
                headers={**headers, **config.headers},
                limits=httpx2.Limits(
                    max_connections=None, max_keepalive_connections=config.concurrency
                ),
            )
        except ValueError as error:
            raise ConfigError(f"headers: got {sorted(config.headers)}; {error}") from error

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def map(self, function: Callable[[RowT], ResultT], rows: Sequence[RowT]) -> list[ResultT]:
        """`function` over rows in bounded threads, in order; the first error cancels the rest."""
        if not rows:
            return []
        with ThreadPoolExecutor(min(self._config.concurrency, len(rows))) as pool:
            futures = [pool.submit(function, row) for row in rows]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """The JSON object that the server answers; a `ModelError` of the right kind otherwise."""
        return self._answer("POST", path, json=self._whole(body))

    def get(self, path: str) -> Answer:
        """As `post`, of a resource."""
        return self._answer("GET", path)

    def upload(self, path: str, fields: Mapping[str, str], name: str, content: bytes) -> Answer:
        """As `post`, of a form with one file. Tried again where the server may have taken it: a
        file may then be there twice."""
        return self._answer("POST", path, data=dict(fields), files={"file": (name, content)})

    def _whole(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in {**body, **self._config.body}.items() if v is not None}

    def _answer(self, method: str, path: str, **content: Any) -> Answer:
        deadline = self._timing.clock() + self._config.total_timeout
        response = self._send(method, path, content, deadline)
        return Answer.read(b"".join(self._chunks(response, deadline)), f"{self._base}{path}")

    def events(self, path: str, body: Mapping[str, Any]) -> Generator[ServerEvent, None, None]:
        """The server-sent events of one answer; closing the iterator closes the connection."""
        deadline = self._timing.clock() + self._config.total_timeout
        decoder = EventDecoder()
        response = self._send("POST", path, {"json": self._whole(body)}, deadline)
        with closing(self._chunks(response, deadline)) as chunks:
            for chunk in chunks:
                yield from decoder.push(chunk)

    def _chunks(self, response: httpx2.Response, deadline: float) -> Generator[bytes, None, None]:
        try:
            for chunk in response.iter_bytes():
                yield chunk
                if self._timing.clock() > deadline:
                    raise self._late(f"no whole answer in {self._config.total_timeout:g} s")
        except httpx2.TimeoutException:
            raise self._late("the answer stopped coming") from None
        except httpx2.HTTPError as error:
            raise ModelServerError(
                f"{self._base}: the connection broke amid an answer ({error}); ask again"
            ) from error
        finally:
            response.close()

    def _send(
        self, method: str, path: str, content: Mapping[str, Any], deadline: float
    ) -> httpx2.Response:
        """A response whose status is good and whose body is still to be read."""
        attempt = 0
        while True:
            attempt += 1
            asked: float | None = None
            try:
                response = self._try(method, path, content, deadline)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = self._unreachable(error)
            else:
                if response.is_success:
                    return response
                failure = self._refused(response, deadline)
                if response.status_code not in _RETRIED and response.status_code < 500:
                    raise failure
                asked = retry_after_seconds(
                    response.headers.get("retry-after"), now=self._timing.now()
                )
            self._wait(attempt, asked, deadline, failure)

    def _try(
        self, method: str, path: str, content: Mapping[str, Any], deadline: float
    ) -> httpx2.Response:
        left = max(deadline - self._timing.clock(), 0.001)
        read = min(self._config.read_timeout, left)
        timeout = httpx2.Timeout(read, connect=min(self._config.connect_timeout, left))
        try:
            request = self._client.build_request(
                method, f"{self._base}{path}", timeout=timeout, **content
            )
            return self._client.send(request, stream=True)
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            raise
        except httpx2.TimeoutException:
            raise self._late(f"no answer in {read:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ModelServerError(
                f"{self._base}: no answer ({error}); is this the address?"
            ) from error

    def _wait(
        self, attempt: int, asked: float | None, deadline: float, failure: ModelError
    ) -> None:
        """Sleep before the next attempt, or raise `failure` where there is to be none."""
        if attempt >= self._config.attempts:
            raise failure
        most = min(self._config.backoff_limit, self._config.backoff * 2.0 ** (attempt - 1))
        pause = self._timing.chance() * most if asked is None else asked
        if self._timing.clock() + pause >= deadline:
            raise failure
        self._timing.sleep(pause)

    def _refused(self, response: httpx2.Response, deadline: float) -> ModelError:
        kept = b""
        with suppress(ModelError), closing(self._chunks(response, deadline)) as chunks:
            while len(kept) < _REFUSAL_BYTES and (chunk := next(chunks, b"")):
                kept += chunk  # where the body breaks off, the status says enough
        said = kept.decode("utf-8", "replace")
        if self._key is not None:  # some servers repeat it
            said = said.replace(self._key, "[key]")
        said = " ".join(said.split())[:_SHOWN]
        status = response.status_code
        message = f"{response.url}: status {status}, expected 200: {said}"
        if 400 <= status < 500:
            return ModelRequestError(message, status=status)
        return ModelServerError(message)

    def _unreachable(self, error: Exception) -> ModelError:
        kind = ModelTimeoutError if isinstance(error, httpx2.ConnectTimeout) else ModelServerError
        return kind(f"{self._base}: cannot be reached ({error}); is the server running?")

    def _late(self, what: str) -> ModelTimeoutError:
        return ModelTimeoutError(
            f"{self._base}: {what}; wait longer by read_timeout or total_timeout, or ask for less"
        )
