"""Text at rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.errors import ConfigError
from custodes.store import Vault, new_vault_key

VAULT = Vault([new_vault_key()])


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_comes_back(text):
    sealed = VAULT.seal(text, at=-3.5)
    assert sealed.isascii()
    assert VAULT.open(sealed) == text


def test_keys_rotate():
    old, new = new_vault_key(), new_vault_key()
    before = Vault([old]).seal("mild", at=1e9)
    both = Vault.from_environment({"CUSTODES_STORE_KEY": f" {new}, {old},"})
    assert both.open(before) == "mild"
    assert Vault([new]).open(both.seal("mild", at=1e9)) == "mild"
    assert Vault([new]).open(before) is None
    assert both.open(before[:-4] + "AAA=") is None
    assert both.open("\u00e9") is None


@pytest.mark.parametrize("value", ["", " , ", "short", "x" * 44, "\u00e9" * 44])
def test_a_wrong_key_is_a_clear_error_that_does_not_show_it(value):
    with pytest.raises(ConfigError, match="CUSTODES_STORE_KEY") as caught:
        Vault.from_environment({"CUSTODES_STORE_KEY": value})
    assert "new_vault_key" in str(caught.value)
    assert not value.strip(" ,") or value not in str(caught.value)
    with pytest.raises(ConfigError):
        Vault.from_environment({})
