"""The databases that every test of the store runs against, and events to put into them."""

import itertools
import os
import secrets
import time

import pytest

from custodes.store import Event, connect, migrate

POSTGRES = os.environ.get("CUSTODES_TEST_POSTGRES", "postgresql://root@127.0.0.1/test")


def pytest_generate_tests(metafunc):
    if "database" in metafunc.fixturenames:
        metafunc.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="session")
def postgres():
    """A plain psycopg connection; skips where there is no server."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    try:
        connection = psycopg.connect(POSTGRES, connect_timeout=5, autocommit=True)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL at {POSTGRES}: {error}")
    with connection:
        yield connection
    connection.close()


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite:///{tmp_path / 'custodes.db'}"


@pytest.fixture
def postgresql(postgres):
    """The URL of an empty schema."""
    schema = f"custodes_{secrets.token_hex(6)}"
    postgres.execute(f"CREATE SCHEMA {schema}")
    yield f"{POSTGRES}?options=-csearch_path%3D{schema}"
    postgres.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def database(request):
    """The URL of an empty database, of each kind in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def engine(database):
    engine = connect(database, timeout=20)
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def make_event():
    """Events with ids of their own; keywords replace fields."""
    number = itertools.count()

    def make(**fields):
        n = next(number)
        values = {
            "id": f"event-{n:06}",
            "at": 1_700_000_000.0 + n,
            "key": "0123456789ab",
            "route": "/v1/messages",
            "mode": "enforce",
            "judged": "exchange",
            "action": "release",
            "score": 0.25,
            "logits": {"probe": -1.5, "head": 0.1},
            "versions": {"constitution": "c1", "artifact": "a1"},
            "latency_ms": 3.5,
        }
        return Event(**{**values, **fields})

    return make


@pytest.fixture
def until():
    """Wait for a condition."""

    def wait(condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.01)

    return wait
