"""The databases that queues are tested on, and cases to put in them."""

import os
import secrets

import pytest
from review_doubles import Clock, make_case

from custodes.review.config import QueueConfig
from custodes.review.queue import Desk
from custodes.store import connect, migrate

POSTGRES = os.environ.get("CUSTODES_TEST_POSTGRES", "postgresql://root@127.0.0.1/test")


def pytest_generate_tests(metafunc):
    if "database" in metafunc.fixturenames:
        metafunc.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def database(request, tmp_path):
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'custodes.db'}"
        return
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    try:
        connection = psycopg.connect(POSTGRES, connect_timeout=5, autocommit=True)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL at {POSTGRES}: {error}")
    schema = f"custodes_{secrets.token_hex(6)}"
    connection.execute(f"CREATE SCHEMA {schema}")
    yield f"{POSTGRES}?options=-csearch_path%3D{schema}"
    connection.execute(f"DROP SCHEMA {schema} CASCADE")
    connection.close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def engine(database):
    engine = connect(database, timeout=20)
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def desk(engine, clock):
    return Desk(engine, now=clock)


@pytest.fixture
def filled(desk):
    """A desk with a queue of cases: `filled(12, raters=2)`."""

    def fill(count, *, cases=None, **settings):
        desk.put("cakes", QueueConfig(**{"sampling": "given", **settings}))
        desk.add("cakes", cases or [make_case(n) for n in range(count)])
        return desk

    return fill
