"""Everything that can be set of a gateway: one YAML file.

Secrets are not in it: upstream keys stand in environment variables, clients' keys as hashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from custodes.config import Config
from custodes.server.upstreams.http import HttpUpstreamConfig
from custodes.server.upstreams.local import LocalUpstreamConfig
from custodes.types import Role

__all__ = ["FeedConfig", "GatewayConfig", "KeyConfig", "KeyMode", "KeyRole", "UpstreamConfig"]

KeyMode = Literal["enforce", "flag", "shadow"]
"""enforce: stop. flag: let through and tell the client. shadow: let through and only record."""

KeyRole = Literal["client", "reviewer", "admin"]
"""client: asks models. reviewer: reads events too. admin: changes things too."""


def _kind(value: object) -> str:
    url = "url" in value if isinstance(value, Mapping) else isinstance(value, HttpUpstreamConfig)
    return "http" if url else "local"


UpstreamConfig = Annotated[
    Annotated[HttpUpstreamConfig, Tag("http")] | Annotated[LocalUpstreamConfig, Tag("local")],
    Discriminator(_kind),
]
"""With a `url` a server, else a model in this process."""


class KeyConfig(Config):
    """A client's key; the key itself is known to the client alone."""

    id: str
    """What events call it."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Hash of the key, hexadecimal."""
    role: KeyRole = "client"
    """What it may do."""
    mode: KeyMode = "enforce"
    """What verdicts do to its traffic."""
    explain: bool = False
    """Whether it may ask for the ground of a verdict by the header `custodes-explain: 1`."""
    per_minute: float | None = Field(default=None, gt=0)
    """Requests a minute; null takes the gateway's."""


class FeedConfig(Config):
    """Which verdicts people look at."""

    queue: str
    """The queue; it is made with its defaults where there is none."""
    low: float = Field(default=0.2, ge=0, le=1)
    """Probability of harm from which a verdict is uncertain."""
    high: float = Field(default=0.8, ge=0, le=1)
    """Probability of harm up to which it is."""
    audit: float = Field(default=0.0, ge=0, le=1)
    """Share of the verdicts outside the band that people look at all the same."""
    per_hour: int = Field(default=500, ge=1)
    """Cases an hour at most, of uncertain ones and of audits each; more are not asked about."""


class GatewayConfig(Config):
    """A gateway."""

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """The port; 0 takes a free one."""
    workers: int = Field(default=1, ge=1)
    """Processes that share the port."""
    guard: str | None = "default"
    """A guard's folder or a shipped guard's name; null judges nothing at all."""
    upstreams: Mapping[str, UpstreamConfig] = Field(
        default_factory=lambda: {"embedded": LocalUpstreamConfig()}
    )
    """Name -> where replies come from. `NAME/model` picks one; else the upstream that lists the
    model; else the first that lists none."""
    release: Literal["checked", "immediate"] | None = None
    """checked: a character leaves once a verdict covers it. immediate: at once, cut late.
    null: what the guard's policy says."""
    judged_roles: tuple[Role, ...] = ("system", "user", "assistant", "tool")
    """Whose turns of a request are judged before the upstream is asked."""
    allow_unjudged_parts: bool = False
    """Whether images, audio and files, which no guard here can read, go through unjudged."""
    judge_threads: int = Field(default=2, ge=1)
    """Threads that judge."""
    judge_seconds: float = Field(default=10.0, gt=0)
    """How long a verdict may take, waiting included (of `/v1/moderations` that on each text); then
    the policy's `on_failure` counts."""
    explain: Literal["never", "ask", "always"] = "ask"
    """Whether replies carry the guard's object: for keys that may ask and do, or always."""
    database: str | None = None
    """Where events and keys are kept: sqlite:////absolute/path.db, postgresql://user@host/name, or
    none (the last events in memory). null: CUSTODES_DATABASE, else SQLite in the user's folder."""
    keep_text: bool = False
    """Whether events hold the text that was judged; encrypted, with CUSTODES_STORE_KEY."""
    keys: tuple[KeyConfig, ...] = ()
    """Keys that are known besides those of the database."""
    no_auth: bool = False
    """Ask for no key; on localhost only."""
    per_minute: float | None = Field(default=None, gt=0)
    """Requests a minute and key; null sets no limit."""
    burst: int = Field(default=20, ge=1)
    """Requests that may come at once within the limit."""
    redis_url_env: str | None = None
    """The environment variable with the Redis address that limits are shared through."""
    max_body_bytes: int = Field(default=4 * 2**20, ge=1)
    """The largest request."""
    body_seconds: float = Field(default=30.0, gt=0)
    """How long a client may take to send its request."""
    request_seconds: float = Field(default=600.0, gt=0)
    """How long a request may take in all, a client that reads slowly included."""
    drain_seconds: float = Field(default=30.0, gt=0)
    """How long open streams may go on after SIGTERM."""
    traces: bool = False
    """Whether OpenTelemetry spans are made, which never hold a prompt (extra `otel`); where they
    go say OTEL_EXPORTER_OTLP_ENDPOINT and its like."""
    metrics_public: bool = True
    """Whether /metrics is served without a key."""
    review: FeedConfig | None = None
    """Which verdicts people look at in the console's review; needs `keep_text` and a database."""
    console: bool = True
    """Whether the console is served at /console, for keys of reviewers and admins."""

    arena: str | None = None
    """A question set (such as fermentation) that players attack at /arena, one level a question;
    null: no arena. Players need a key; what they write is kept."""
    arena_model: str = ""
    """The model that the arena asks, as a client would name it; empty: the first upstream."""
    arena_tokens: int = Field(default=96, ge=1)
    """At most so many tokens a reply in the arena."""

    @model_validator(mode="after")
    def _makes_sense(self) -> GatewayConfig:
        if not self.upstreams:
            raise ValueError("upstreams: got none, expected at least one")
        if self.review is not None and not (self.keep_text and self.database != "none"):
            raise ValueError(
                "review: people can only look at texts that are kept: set keep_text: true and a "
                "database"
            )
        if self.no_auth and self.host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError(f"no_auth is for localhost only; got host {self.host}")
        if len({key.sha256 for key in self.keys}) < len(self.keys):
            raise ValueError("keys: two have the same hash")
        if len({key.id for key in self.keys}) < len(self.keys):
            raise ValueError("keys: two have the same id, so their events could not be told apart")
        return self
