"""Every error that custodes raises on purpose.

CustodesError
├── InputError             the caller's mistake: the CLI prints it and leaves with status 2
│   ├── ConfigError        a setting, a flag or a registry name
│   ├── DataError          a table, a row, a data set
│   ├── ConstitutionError  a constitution, with file and line
│   └── ArtifactError      a saved scorer or guard: missing, corrupt, or of another format
├── MissingExtraError      a package that an extra brings is not installed
├── ModelError             a model backend failed
│   ├── ModelTimeoutError  no answer in time
│   ├── ModelRequestError  the backend refused the request (status 4xx)
│   └── ModelServerError   the backend failed (status 5xx, broken connection, malformed answer)
├── EngineError            a worker failed and its rows could not be done
└── StoreError             an event or a key could not be stored or read
    ├── StoreBusyError     more events are waiting than the queue holds
    └── StoreUnavailableError  the database is locked, gone, full or refuses

Every message says what was got, what was expected and what to do.
"""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "ConfigError",
    "ConstitutionError",
    "CustodesError",
    "DataError",
    "EngineError",
    "InputError",
    "MissingExtraError",
    "ModelError",
    "ModelRequestError",
    "ModelServerError",
    "ModelTimeoutError",
    "StoreBusyError",
    "StoreError",
    "StoreUnavailableError",
]


class CustodesError(Exception):
    """The root: catch it to catch whatever custodes raises on purpose."""


class InputError(CustodesError):
    """The caller's mistake."""


class ConfigError(InputError):
    """A setting, a flag or a registry name is wrong."""


class DataError(InputError):
    """A table, a row or a data set is wrong or cannot be found."""


class ConstitutionError(InputError):
    """A constitution is wrong; the message names file and line."""


class ArtifactError(InputError):
    """A saved scorer or guard is missing, corrupt or of another format."""


class MissingExtraError(CustodesError):
    """A package that an extra brings is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"the package {package!r} is not installed; it comes with: "
            f"pip install 'custodes[{extra}]'"
        )
        self.package = package
        self.extra = extra


class ModelError(CustodesError):
    """A model backend failed."""


class ModelTimeoutError(ModelError):
    """A model backend did not answer in time."""


class ModelRequestError(ModelError):
    """A model backend refused the request.

    `status`: what its server answered with; None where no server did.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ModelServerError(ModelError):
    """A model backend failed while serving the request."""


class EngineError(CustodesError):
    """A worker failed and its rows could not be done."""


class StoreError(CustodesError):
    """An event or a key could not be stored or read."""


class StoreBusyError(StoreError):
    """More events are waiting for the database than the queue holds."""


class StoreUnavailableError(StoreError):
    """The database is locked, gone, full or refuses; nothing of the batch is acknowledged."""
