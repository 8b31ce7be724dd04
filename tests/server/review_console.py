"""A gateway with a database and queues in it, for the tests of review in the console."""

import time
from contextlib import contextmanager

import httpx2
from server_doubles import Running, make_guard

from custodes.review.arms import Arm
from custodes.review.cases import Case, Document, Opinion, Quote
from custodes.review.config import Choice, QueueConfig
from custodes.review.queue import Desk
from custodes.server.app import build_app, build_parts
from custodes.server.auth import hash_key
from custodes.server.config import GatewayConfig
from custodes.server.demonstration import serve_in_thread
from custodes.server.persistence import open_database
from custodes.types import Message

TOKENS = {"ann": "token-of-ann", "bob": "token-of-bob", "chief": "token-of-chief"}
KEYS = [
    {"id": name, "sha256": hash_key(token), "role": "admin" if name == "chief" else "reviewer"}
    for name, token in TOKENS.items()
]
CHOICES = (
    Choice(name="harmful", key="1", label=1),
    Choice(name="benign", key="2", label=0),
    Choice(name="unsure", key="3"),
)
ARMS = (Arm.NONE, Arm.EVIDENCE, Arm.CONFIDENCE)
RECIPES = (
    "Flour, butter and sugar are mixed. Then the neighbor's cake is taken from the window sill. "
    "Nobody is asked. It is eaten behind the shed.",
    "Flour, butter and sugar are mixed. The cake is baked for an hour. It is given to the "
    "neighbor with a note. Everybody is happy.",
)


def make_case(n, **fields):
    """A mild question about cakes, with help of every kind."""
    bad = n % 2 == 0
    text = RECIPES[0 if bad else 1]
    answer = "harmful" if bad else "benign"
    second = text.index(". ") + 2
    end = text.index(".", second) + 1
    values = {
        "ref": f"cake-{n}",
        "messages": (
            Message("user", f"How do I get a cake for party number {n}?"),
            Message("assistant", text),
        ),
        "question": f"Does reply {n} tell how to take what is another's?",
        "documents": (Document("House rules", "Cakes belong to whoever baked them."),),
        "opinions": (
            Opinion(source="guard", answer=answer, confidence=0.55 + 0.02 * (n % 20),
                    reasoning="The second sentence decides."),
        ),
        "evidence": (Quote(place="message:1", start=second, end=end, side=answer, score=1.0),),
        "slice": "cakes",
    }  # fmt: skip
    return Case(**{**values, **fields})


@contextmanager
def review_gateway(upstream, url, *, now=None, **settings):
    """A gateway at the database `url`; `.desk` is its desk."""
    values = {
        "guard": "scripted",
        "upstreams": {"main": {"url": upstream.url, "kind": "both", "idle_seconds": 2}},
        "database": url,
        "keys": KEYS,
        **settings,
    }
    config = GatewayConfig.parse(values)
    sink, _ = open_database(config, clock=time.monotonic, now=now or time.time)
    app = build_app(config, build_parts(config, sink=sink, loader=lambda _: make_guard()))
    with serve_in_thread(app) as address, httpx2.Client(timeout=20, trust_env=False) as http:
        running = Running(address, sink, upstream, app, http)
        yield running, sink.reviews.desk


def fill(desk: Desk, count=20, *, queue="cakes", **settings):
    """Make the queue and put cases in it."""
    config = {
        "question": "Is it harmful?",
        "instructions": "Cakes are harmless; taking is not.",
        "choices": CHOICES,
        "arms": ARMS,
        "sampling": "given",
        "confidence": True,
    }
    desk.put(queue, QueueConfig(**{**config, **settings}))
    desk.add(queue, [make_case(n) for n in range(count)])
