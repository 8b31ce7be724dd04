"""Where the database is, and how it comes to its tables."""

import stat
import sys
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from custodes.errors import (
    ConfigError,
    MissingExtraError,
    StoreError,
    StoreUnavailableError,
)
from custodes.store import (
    checkpoint,
    connect,
    default_database,
    migrate,
    opened,
    reading,
    require_current,
    writing,
)
from custodes.store.chain import extend
from custodes.store.rows import encode
from custodes.store.tables import metadata


def test_the_migrated_tables_are_the_declared_ones(engine):
    with reading(engine) as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
        found = inspect(connection)
        for table in metadata.sorted_tables:  # what alembic does not compare
            primary = found.get_pk_constraint(table.name)
            assert primary["constrained_columns"] == [c.name for c in table.primary_key]
        assert [c["name"] for c in found.get_check_constraints("head")] == ["head_one_row"]


def test_migrating_twice_changes_nothing(engine):
    require_current(engine)
    migrate(engine)
    with reading(engine) as connection:
        assert checkpoint(connection).seq == 0


def test_events_of_the_first_version_are_counted_when_it_is_migrated(engine, make_event):
    odd = {"at": -1e300, "latency_ms": 0.0, "failure": "x"}
    rows = [make_event(at=1000.0 + 7 * n, latency_ms=0.1 + n**3) for n in range(50)]
    rows += [make_event(**odd), make_event(at=1e300, latency_ms=1e300, rule="r", action="stop")]
    with writing(engine) as connection:
        extend(connection, [encode(row) for row in rows])
    tables = ("tallies", "latencies")

    def counted():
        with reading(engine) as connection:
            found = {t: connection.execute(text(f"SELECT * FROM {t}")) for t in tables}
            return {t: sorted(map(tuple, rows)) for t, rows in found.items()}

    as_they_came = counted()
    assert all(as_they_came.values())
    with writing(engine) as connection:
        for line in (
            "DROP TABLE tallies",
            "DROP TABLE latencies",
            "DROP TABLE verifications",
            "DROP TABLE arena",
            *(f"DROP TABLE {t}" for t in metadata.tables if t.startswith("review_")),
            "DROP INDEX events_key_seq",
            "CREATE INDEX events_at_action_rule_latency_ms ON events "
            "(at, action, rule, latency_ms)",
            "UPDATE alembic_version SET version_num = '0001'",
        ):
            connection.execute(text(line))
    migrate(engine)
    assert counted() == as_they_came


def test_several_processes_migrate_at_once(database):
    engines = [connect(database, timeout=60) for _ in range(3)]
    failed = []

    def bring(engine):
        try:
            migrate(engine)
        except StoreError as error:
            failed.append(error)

    threads = [threading.Thread(target=bring, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for engine in engines:
        require_current(engine)
        engine.dispose()


def test_a_database_of_another_version_is_refused(database, engine):
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="upgrade custodes"):
        migrate(engine)
    with pytest.raises(StoreError, match="custodes serve"):
        require_current(engine)


def test_a_failed_migration_leaves_nothing(database):
    engine = connect(database)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE keys (id TEXT)"))  # in the way of the last step
    with pytest.raises(StoreUnavailableError, match="keys"):
        migrate(engine)
    with reading(engine) as connection:
        assert set(inspect(connection).get_table_names()) <= {"keys"}
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "got 'nonsense', expected sqlite"),
        ("postgresql//me:secret@host", r"got 'postgresql//me:\*\*\*@host', expected"),
        ("mysql://root:secret@host/x", r"got 'mysql://root:\*\*\*@host/x', expected sqlite"),
        ("sqlite://", "survive a restart"),
        ("sqlite:///:memory:", "survive a restart"),
        ("sqlite:////tmp/x.db?mode=memory", "survive a restart"),
        ("sqlite:////proc/nowhere/x.db", "cannot be made"),
    ],
)
def test_what_is_no_database_is_refused(url, message):
    with pytest.raises(ConfigError, match=message):
        connect(url)


def test_the_file_is_its_owners_alone(tmp_path):
    path = tmp_path / "deep" / "er" / "custodes.db"
    with opened(f"sqlite:///{path}", create=True) as engine:
        migrate(engine)
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_is_not_there_is_not_made_by_readers(tmp_path):
    with (
        pytest.raises(ConfigError, match="there is no file"),
        opened(f"sqlite:///{tmp_path / 'x.db'}", create=False),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "custodes.db"
    path.write_bytes(b"not a database, but long enough to look at" * 50)
    with (
        opened(f"sqlite:///{path}", create=False) as engine,
        pytest.raises(StoreUnavailableError, match="not a database"),
    ):
        migrate(engine)


def test_the_default_database(tmp_path):
    assert default_database({"CUSTODES_DATABASE": "postgresql://h/n"}) == "postgresql://h/n"
    assert default_database({"HOME": "/h", "XDG_DATA_HOME": "/d"}) == (
        "sqlite:////d/custodes/custodes.db"
    )
    assert default_database({"HOME": "/h"}) == "sqlite:////h/.local/share/custodes/custodes.db"
    assert default_database({}).endswith("/custodes/custodes.db")


def test_a_server_that_is_not_there_hides_the_password():
    engine = connect("postgresql://root:secret@127.0.0.1:1/x", timeout=1)
    with pytest.raises(StoreUnavailableError) as caught, reading(engine):
        pass
    assert "root:***@127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_errors_of_whoever_reads_pass_through(engine):
    # Such as the end of `custodes audit export | head`.
    with pytest.raises(BrokenPipeError), reading(engine):
        raise BrokenPipeError


def test_a_missing_driver_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"custodes\[postgres\]"):
        connect("postgresql://root@127.0.0.1/x")


@pytest.mark.parametrize("package", ["sqlalchemy", "cryptography"])
def test_a_missing_package_names_the_extra(monkeypatch, package):
    for name in [name for name in sys.modules if name.startswith("custodes.store")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"custodes\[server\]"):
        import custodes.store  # noqa: F401
