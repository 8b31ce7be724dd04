"""YAML to plain values in which every scalar is text, with the position of each value.

A stricter YAML for prose: no anchors, aliases or tags, no key twice, so that no file can mean
something else than it seems to, nor blow up. Knows nothing of constitutions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from custodes.constitution.finding import Finding, Location, Position

__all__ = ["MAX_BYTES", "MAX_DEPTH", "parse"]

MAX_BYTES = 16 * 1024 * 1024
"""A larger file is refused."""

MAX_DEPTH = 32
"""A deeper nesting is refused."""

# libyaml is about ten times faster; both give the same nodes.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _RefusedError(Exception):
    """The file cannot be taken any further; carries the finding."""

    def __init__(self, message: str, position: Position) -> None:
        super().__init__(message)
        self.finding = Finding(severity="error", position=position, message=message)


def parse(path: Path) -> tuple[Any, dict[Location, Position], list[Finding]]:
    """Read one file: its values, the position of each, and everything wrong with it as YAML.

    The values are `None` where the file could not be read to its end. Mapping values stand at
    their key, list items at themselves.
    """
    builder = _Builder(str(path))
    try:
        text = _text(path)
        builder.refuse_surprises(text)
        root = yaml.compose(text, Loader=_Loader)
        values = None if root is None else builder.build(root, ())
    except _RefusedError as refused:
        return None, {}, [refused.finding]
    except yaml.YAMLError as error:
        return None, {}, [_syntax(error, str(path))]
    return values, builder.places, builder.findings


def _text(path: Path) -> str:
    nowhere = Position(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _RefusedError("no such file", nowhere) from None
    except OSError as error:
        raise _RefusedError(f"cannot be read: {error.strerror}", nowhere) from error
    if len(content) > MAX_BYTES:
        message = f"got more than {MAX_BYTES:,} bytes, the most there may be; split it into parts"
        raise _RefusedError(message, nowhere)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _RefusedError(f"not UTF-8 text: {error}", nowhere) from error


def _syntax(error: yaml.YAMLError, file: str) -> Finding:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    position = Position(file, mark.line + 1, mark.column + 1) if mark else Position(file)
    words = [getattr(error, "context", None), getattr(error, "problem", None)]
    message = ", ".join(word for word in words if word) or " ".join(str(error).split())
    return Finding(severity="error", position=position, message=f"not YAML: {message}")


class _Builder:
    """Turns nodes into values, and notes where each stood and what is wrong."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[Location, Position] = {}
        self.findings: list[Finding] = []

    def refuse_surprises(self, text: str) -> None:
        """Look at the flat events first: composing nodes recurses and follows aliases."""
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            position = self._position(event)
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise _RefusedError("anchors and aliases are refused; write it out", position)
            tag = getattr(event, "tag", None)
            if tag:
                raise _RefusedError(f"the tag {tag} is refused; values are text", position)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                raise _RefusedError(f"nested deeper than {MAX_DEPTH} levels", position)

    def build(self, node: yaml.Node, location: Location) -> Any:
        """The value of a node; each of its parts is noted under its location."""
        self.places.setdefault(location, self._position(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*location, i)) for i, item in enumerate(node.value)]
        if node.tag == "tag:yaml.org,2002:null" and not node.value:
            return None
        return node.value

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._complain(key, "a key must be text")
            elif key.value in result:
                first = self.places[(*location, key.value)]
                self._complain(key, f"the key {key.value!r} stands already in line {first.line}")
            else:
                self.places[(*location, key.value)] = self._position(key)
                result[key.value] = self.build(value, (*location, key.value))
        return result

    def _position(self, found: yaml.Node | yaml.Event) -> Position:
        mark: Any = found.start_mark
        return Position(self.file, mark.line + 1, mark.column + 1)

    def _complain(self, node: yaml.Node, message: str) -> None:
        self.findings.append(
            Finding(severity="error", position=self._position(node), message=message)
        )
