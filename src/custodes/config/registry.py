"""Named components: one `Registry` a family, name -> import string, imported on first use.

Strangers add names by an entry point in the group `custodes.<kind>`, or are used without any
registration by a dotted path `package.module:attribute`. Dotted paths come from the operator's
own files and flags, never from a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from custodes.errors import ConfigError, MissingExtraError

__all__ = ["Registry"]


class Registry:
    """One family of components.

    `builtins` maps a name to `package.module:attribute`; `extras` maps a name to the extra that
    brings what it needs.
    """

    def __init__(
        self, kind: str, builtins: Mapping[str, str], extras: Mapping[str, str] | None = None
    ) -> None:
        self.kind = kind
        self._builtins = dict(builtins)
        self._extras = dict(extras or {})

    def names(self) -> tuple[str, ...]:
        """Every known name, sorted; strangers' entry points included."""
        strangers = {point.name for point in entry_points(group=f"custodes.{self.kind}")}
        return tuple(sorted(self._builtins.keys() | strangers))

    def load(self, name: str) -> Any:
        """Import and return the component; `ConfigError` where the name is unknown."""
        target = self._target(name)
        module_name, _, attribute = target.partition(":")
        try:
            module = import_module(module_name)
        except ModuleNotFoundError as error:
            missing = (error.name or "").split(".")[0]
            if name in self._extras and missing != "custodes":
                raise MissingExtraError(missing, self._extras[name]) from error
            raise ConfigError(self._not_found(name, target, error.name or "")) from error
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"{self.kind} {name!r}: importing the module {module_name} failed: "
                f"{type(error).__name__}: {error}"
            ) from error
        try:
            return getattr(module, attribute)
        except AttributeError as error:
            raise ConfigError(
                f"{self.kind} {name!r}: the module {module_name} has no {attribute!r}"
            ) from error

    def _not_found(self, name: str, target: str, missing: str) -> str:
        message = f"{self.kind} {name!r}: cannot import {missing!r} (for {target})"
        if missing.split(".", maxsplit=1)[0] == target.partition(":")[0].split(".")[0]:
            message += (
                "; Python does not look in the working folder: name the module's folder in "
                "PYTHONPATH (PYTHONPATH=. custodes ...), or install its package"
            )
        return message

    def _target(self, name: str) -> str:
        if name in self._builtins:
            return self._builtins[name]
        for point in entry_points(group=f"custodes.{self.kind}"):
            if point.name == name:
                return point.value
        module_name, colon, attribute = name.partition(":")
        if colon and module_name and attribute:
            return name
        raise ConfigError(
            f"unknown {self.kind}: got {name!r}, expected one of {', '.join(self.names())}, "
            "or a dotted path package.module:attribute"
        )
