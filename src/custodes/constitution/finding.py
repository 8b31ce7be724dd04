"""What is wrong with a constitution, and where: findings and positions in files.

Knows neither YAML nor what makes a good rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Finding", "Level", "Location", "Position", "Positions"]

Location: TypeAlias = tuple[str | int, ...]
"""Where a value stands in a constitution: `("rules", 0, "grammar", "en", "intents", 3)`."""


Level: TypeAlias = Literal["error", "warning"]
"""An error makes a constitution unusable; a warning is for its author to weigh."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; lines and columns count from 1, and 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Positions:
    """Where each value of a constitution was read; empty for one that was built in Python."""

    places: Mapping[Location, Position] = field(default_factory=dict)
    file: str = "<constitution>"

    def of(self, location: Location) -> Position:
        """The position of the value at `location`, or of the nearest value around it."""
        for length in range(len(location), -1, -1):
            if location[:length] in self.places:
                return self.places[location[:length]]
        return Position(self.file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong or doubtful; `rule` is the id of the rule it is about, if any."""

    severity: Level
    position: Position
    message: str
    rule: str | None = None

    def __str__(self) -> str:
        place = f"{self.position.file}:{self.position.line}:{self.position.column}"
        return f"{place}: {self.severity}: {self.message}"

    def to_record(self) -> dict[str, str | int | None]:
        """The finding as plain JSON values: severity, file, line, column, rule, message."""
        return {
            "severity": self.severity,
            "file": self.position.file,
            "line": self.position.line,
            "column": self.position.column,
            "rule": self.rule,
            "message": self.message,
        }
