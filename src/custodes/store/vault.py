"""Text at rest: encrypted with keys from the operator's environment.

Knows no database. The first key encrypts, all decrypt: to rotate, put a new key in front; to make
old texts unreadable for good, drop their key (the chain covers the cipher text, so it still
verifies).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from custodes.errors import ConfigError

__all__ = ["ENVIRONMENT_KEY", "Vault", "new_vault_key"]

ENVIRONMENT_KEY = "CUSTODES_STORE_KEY"
"""The environment variable with the keys, separated by commas."""


class Vault:
    """Encrypts and decrypts text (Fernet: AES-128-CBC with HMAC-SHA-256)."""

    def __init__(self, keys: Sequence[str]) -> None:
        """`keys`: at least one, as `new_vault_key` makes them; `ConfigError` otherwise."""
        if not keys:
            raise ConfigError(f"no key to encrypt text with; {_HOW}")
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError as error:  # the message must not hold the key
            raise ConfigError(
                f"a key to encrypt text with is not 32 bytes of URL-safe base64; {_HOW}"
            ) from error

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Vault:
        """Read CUSTODES_STORE_KEY; `ConfigError` where it is missing or malformed."""
        keys = [key.strip() for key in environment.get(ENVIRONMENT_KEY, "").split(",")]
        return cls([key for key in keys if key])

    def seal(self, text: str, *, at: float) -> str:
        """Encrypt; `at`, seconds since 1970, stands readable in the cipher text."""
        data = text.encode("utf-8", "surrogatepass")
        return self._fernet.encrypt_at_time(data, max(0, int(at))).decode("ascii")

    def open(self, sealed: str) -> str | None:
        """Decrypt; `None` where no key fits or the cipher text was altered."""
        try:
            data = self._fernet.decrypt(sealed.encode("ascii", "replace"))
        except InvalidToken:
            return None
        return data.decode("utf-8", "surrogatepass")


def new_vault_key() -> str:
    """A fresh key for CUSTODES_STORE_KEY."""
    return Fernet.generate_key().decode("ascii")


_HOW = (
    f"set {ENVIRONMENT_KEY} to the output of: python -c "
    "'from custodes.store import new_vault_key; print(new_vault_key())'"
)
