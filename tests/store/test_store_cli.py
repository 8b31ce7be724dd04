"""`custodes keys` and `custodes audit`, as a user runs them."""

import json

import pytest
from sqlalchemy import delete, update
from typer.testing import CliRunner

from custodes.cli.audit import app as audit_app
from custodes.cli.keys import app as keys_app
from custodes.errors import ConfigError, DataError, StoreError
from custodes.store import EventLog, Vault, connect, find_key, new_vault_key, reading, writing
from custodes.store.tables import events

SECRET = new_vault_key()


def run(app, database, *arguments):
    environment = {"CUSTODES_DATABASE": database, "CUSTODES_STORE_KEY": SECRET}
    return CliRunner().invoke(app, arguments, env=environment)


def test_a_key_is_created_listed_and_revoked(database):
    made = run(keys_app, database, "create", "Ada", "--role", "admin", "--mode", "flag")
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    assert token.startswith("cus_")
    assert "shown once" in made.stderr
    other = json.loads(run(keys_app, database, "create", "Bob", "--json").stdout)
    assert (other["role"], other["mode"], other["revoked"]) == ("client", "enforce", None)
    engine = connect(database)
    with reading(engine) as connection:
        key = find_key(connection, token)
        assert find_key(connection, other["token"]).id == other["id"]
    assert (key.name, key.role, key.mode) == ("Ada", "admin", "flag")
    revoked = run(keys_app, database, "revoke", key.id)
    assert revoked.stdout.startswith(f"key {key.id} (Ada) is revoked since 20")
    with reading(engine) as connection:
        assert find_key(connection, token) is None
    engine.dispose()
    listed = run(keys_app, database, "list").stdout.splitlines()
    assert listed[0].split() == ["id", "name", "role", "mode", "created", "revoked"]
    assert listed[1].split()[:4] == [key.id, "Ada", "admin", "flag"]
    assert len(listed) == 3
    records = json.loads(run(keys_app, database, "list", "--json").stdout)
    assert [(r["name"], r["revoked"] is None) for r in records] == [("Ada", False), ("Bob", True)]
    assert "token" not in records[0]
    assert isinstance(run(keys_app, database, "revoke", "nobody").exception, DataError)


@pytest.fixture
def recorded(database, engine, make_event):
    keep = EventLog.Config(keep_text=True)
    with EventLog(engine, keep, vault=Vault([SECRET])) as log:
        for n in range(6):
            halted = {"action": "stop", "rule": "r"} if n % 2 else {}
            log.append(make_event(text=f"text {n}", **halted)).result(60)
    return database


def test_the_audit_finds_what_was_changed(recorded, engine):
    whole = run(audit_app, recorded, "verify")
    assert whole.exit_code == 0
    assert whole.stdout.startswith("ok: 6 events verified; the chain ends at 6:")
    mark = run(audit_app, recorded, "checkpoint").stdout.strip()
    assert mark.startswith("6:")
    assert run(audit_app, recorded, "verify", "--since", mark).stdout.startswith("ok: 0 events")
    with writing(engine) as connection:
        connection.execute(update(events).where(events.c.seq == 2).values(score=0.0))
    altered = run(audit_app, recorded, "verify")
    assert altered.exit_code == 1
    assert altered.stdout.startswith("altered at event 2: 1 events before it verified")
    with writing(engine) as connection:
        connection.execute(delete(events).where(events.c.seq == 6))
    cut = run(audit_app, recorded, "verify", "--since", mark, "--json")
    assert cut.exit_code == 1
    found = json.loads(cut.stdout)
    assert (found["ok"], found["kind"], found["first_bad"]) == (False, "truncated", 6)
    assert isinstance(run(audit_app, recorded, "verify", "--since", "x").exception, ConfigError)


def test_events_are_read_as_json_lines(recorded, tmp_path):
    def lines(*arguments):
        done = run(audit_app, recorded, *arguments)
        assert done.exit_code == 0, done.output
        return [json.loads(line) for line in done.stdout.splitlines()]

    assert [e["seq"] for e in lines("tail", "-n", "2")] == [5, 6]
    assert [e["seq"] for e in lines("tail", "--action", "stop", "--rule", "r")] == [2, 4, 6]
    none = run(audit_app, recorded, "tail", "--action", "halt")
    assert (none.stdout, none.stderr) == ("", "custodes: no event fits --action halt\n")
    first, *_ = lines("export")
    assert (first["seq"], first["sealed"], first["text"]) == (1, True, None)
    assert first["versions"] == {"constitution": "c1", "artifact": "a1"}
    assert [e["text"] for e in lines("export", "--text", "--after", "4")] == ["text 4", "text 5"]
    file = tmp_path / "events.jsonl"
    assert lines("export", str(file)) == []
    assert len(file.read_text().splitlines()) == 6
    again = run(audit_app, recorded, "export", str(file))
    assert isinstance(again.exception, DataError)
    assert [each.name for each in tmp_path.glob("*events.jsonl*")] == ["events.jsonl"]


def test_a_database_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("CUSTODES_DATABASE", raising=False)
    for app, command in ((audit_app, "verify"), (audit_app, "checkpoint"), (keys_app, "list")):
        refused = CliRunner().invoke(app, [command])
        assert isinstance(refused.exception, ConfigError)
        assert str(tmp_path / "custodes" / "custodes.db") in str(refused.exception)
    assert CliRunner().invoke(keys_app, ["create", "Ada"]).exit_code == 0
    assert (tmp_path / "custodes" / "custodes.db").exists()


def test_an_empty_database_is_refused_by_readers(tmp_path):
    path = tmp_path / "empty.db"
    path.touch()
    refused = run(audit_app, f"sqlite:///{path}", "verify")
    assert isinstance(refused.exception, StoreError)
