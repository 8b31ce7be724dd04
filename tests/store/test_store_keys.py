"""API keys: what is stored, what is found, what is revoked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from custodes.errors import DataError
from custodes.store import (
    KeyMode,
    KeyRole,
    connect,
    create_key,
    find_key,
    list_keys,
    migrate,
    reading,
    revoke_key,
    writing,
)
from custodes.store.tables import keys


def test_a_key_is_found_by_its_token_alone(engine):
    with writing(engine) as connection:
        one, token = create_key(connection, "Ada", role=KeyRole.ADMIN, mode=KeyMode.SHADOW, now=1.5)
        two, other = create_key(connection, "Ada", now=2.0)
    with reading(engine) as connection:
        assert find_key(connection, token) == one
        assert find_key(connection, other) == two
        assert (one.name, one.role, one.mode, one.created) == ("Ada", "admin", "shadow", 1.5)
        assert (two.role, two.mode) == ("client", "enforce")
        swapped = f"cus_{one.id}_{other.split('_', 2)[2]}"
        for wrong in (
            swapped,
            token[:-1],
            token + "x",
            token.upper(),
            one.id,
            "",
            "cus_",
            "\ud800",
        ):
            assert find_key(connection, wrong) is None
        assert list_keys(connection) == [one, two]


@pytest.mark.parametrize("name", ["", " ", "a\0b", "a\nb", "\ud800"])
def test_a_name_that_cannot_be_shown_is_refused(engine, name):
    with writing(engine) as connection, pytest.raises(DataError, match="printable"):
        create_key(connection, name, now=1.0)


def test_no_token_is_stored(engine):
    with writing(engine) as connection:
        _, token = create_key(connection, "Ada", now=1.0)
    assert token.startswith("cus_")
    secret = token.split("_", 2)[2]
    with reading(engine) as connection:
        (row,) = connection.execute(select(keys))
    assert secret not in repr(row)


def test_revoking_is_for_good(engine):
    with writing(engine) as connection:
        key, token = create_key(connection, "Ada", now=1.0)
        _, other = create_key(connection, "Bob", now=1.0)
        assert revoke_key(connection, key.id, now=5.0).revoked == 5.0
        assert revoke_key(connection, key.id, now=6.0).revoked == 5.0
        assert find_key(connection, token) is None
        assert find_key(connection, other) is not None
        with pytest.raises(DataError, match="custodes keys list"):
            revoke_key(connection, "nobody", now=7.0)


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    engine = connect(f"sqlite:///{tmp_path_factory.mktemp('keys') / 'k.db'}")
    migrate(engine)
    with reading(engine) as connection:
        yield connection
    engine.dispose()


@settings(max_examples=30)
@given(text=st.text() | st.from_regex(r"cus_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", fullmatch=True))
def test_whatever_a_request_sends_is_only_unknown(connection, text):
    assert find_key(connection, text) is None
