"""Read a constitution from a file, a folder of parts, or by the name of a shipped one.

Collects every mistake with its place before giving up. Knows the form of the files, which is
described in `docs/constitution_format.md`; whether a constitution is any good is `lint.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from custodes.config import Registry
from custodes.constitution import yaml_text
from custodes.constitution.finding import Finding, Location, Position, Positions
from custodes.constitution.rules import Constitution, Frames, Grammar, Rule
from custodes.errors import ConfigError, ConstitutionError

__all__ = ["FORMAT", "Source", "examine", "read", "shipped"]

FORMAT = 1
"""The version of the file format that this module reads."""

_MAIN_FILE = "constitution.yaml"
_SHIPPED = Path(__file__).parent / "shipped"
_REGISTRY = Registry("constitution", {})  # strangers' entry points name a path, as str or Path


@dataclass(frozen=True, slots=True)
class Source:
    """A constitution with where it was read from; `files` are the main file and the parts."""

    constitution: Constitution
    positions: Positions
    files: tuple[Path, ...]


def shipped() -> dict[str, Path]:
    """Name -> path of each constitution that comes with custodes or a plug-in, sorted by name."""
    strangers = {name: _strangers(name) for name in _REGISTRY.names()}
    return dict(sorted({**strangers, **_builtin()}.items()))


def read(path_or_name: str | Path) -> Constitution:
    """Read a YAML file, a folder that holds `constitution.yaml`, or a shipped name.

    A shipped name wins over a file of that name in the current folder: write `./default` for the
    file. `ConstitutionError` lists everything that is wrong, one `file:line:column` a line.
    """
    source, findings = examine(path_or_name)
    if source is None:
        raise ConstitutionError("\n".join(str(finding) for finding in findings))
    return source.constitution


def examine(path_or_name: str | Path) -> tuple[Source | None, list[Finding]]:
    """Like `read`, but gives the findings instead of raising; one of the two is empty.

    `ConstitutionError` only where there is nothing to look at: an unknown name.
    """
    path = _find(path_or_name)
    if path.is_dir():
        path = path / _MAIN_FILE
    assembly = _Assembly(path)
    values = assembly.assemble()
    if values is None:
        return None, assembly.findings
    positions = Positions(assembly.places, str(path))
    try:
        constitution = Constitution.model_validate(values)
    except ValidationError as error:
        wrong = [_explain(details, positions) for details in error.errors()]
        return None, _in_order([*assembly.findings, *wrong], assembly.files)
    findings = [*assembly.findings, *_contradictions(constitution, positions)]
    if findings:
        return None, _in_order(findings, assembly.files)
    return Source(constitution, positions, tuple(assembly.files)), []


def _builtin() -> dict[str, Path]:
    files = {path.stem: path for path in _SHIPPED.glob("*.yaml")}
    return files | {path.parent.name: path.parent for path in _SHIPPED.glob(f"*/{_MAIN_FILE}")}


def _strangers(name: str) -> Path:
    path = _REGISTRY.load(name)
    if isinstance(path, str | Path):
        return Path(path)
    raise ConfigError(f"constitution {name!r}: got {path!r:.80}, expected a path (str or Path)")


def _find(path_or_name: str | Path) -> Path:
    builtin = _builtin()
    if isinstance(path_or_name, str):
        if path_or_name in builtin:
            return builtin[path_or_name]
        if path_or_name in _REGISTRY.names():
            return _strangers(path_or_name)
    path = Path(path_or_name)
    with suppress(OSError, ValueError):  # too long, or no path at all
        if path.exists():
            return path
    names = ", ".join(sorted({*builtin, *_REGISTRY.names()})) or "(none)"
    raise ConstitutionError(
        f"no constitution {str(path_or_name)!r:.200}: expected a YAML file, a folder that holds "
        f"{_MAIN_FILE}, or one of the names {names}"
    )


def _in_order(findings: list[Finding], files: list[Path]) -> list[Finding]:
    order = {str(file): number for number, file in enumerate(files)}
    return sorted(
        findings,
        key=lambda finding: (
            order.get(finding.position.file, len(order)),
            finding.position.line,
            finding.position.column,
        ),
    )


class _Assembly:
    """Puts a main file and its parts together into one tree of plain values."""

    def __init__(self, main: Path) -> None:
        self.main = main
        self.files: list[Path] = [main]
        self.places: dict[Location, Position] = {}
        self.findings: list[Finding] = []

    def assemble(self) -> dict[str, Any] | None:
        """The whole content, or `None` where the main file is not even a mapping."""
        values, places, findings = yaml_text.parse(self.main)
        self.places.update(places)
        self.findings += findings
        if not isinstance(values, dict):
            if not findings:
                self._complain((), "expected a mapping with id, version, title and rules")
            return None
        rule_files = values.pop("include_rules", None)
        frame_files = values.pop("include_frames", None)
        grammar_files = values.pop("include_grammars", None)
        if rule_files is not None:
            self._include_rules(values, rule_files)
        if frame_files is not None:
            self._include_frames(values, frame_files)
        if grammar_files is not None:
            self._include_grammars(values, grammar_files)
        return values

    def _include_rules(self, values: dict[str, Any], names: object) -> None:
        if not isinstance(names, list):
            self._complain(("include_rules",), "expected a list of files")
            return
        rules = values.setdefault("rules", [])
        if not isinstance(rules, list):
            return  # the form of `rules` is complained about in its place
        for number, name in enumerate(names):
            part, places = self._part(name, ("include_rules", number))
            if not isinstance(part, dict) or not isinstance(part.get("rules"), list):
                if part is not None:
                    self._complain(("include_rules", number), f"{name}: expected `rules:`, a list")
                continue
            for key in sorted(part.keys() - {"rules"}):
                self._complain_at(places[(key,)], f"unknown key {key!r}; a part holds only 'rules'")
            offset = len(rules)
            rules += part["rules"]
            for location, position in places.items():
                match location:
                    case ("rules", int(index), *rest):
                        self.places["rules", offset + index, *rest] = position

    def _include_frames(self, values: dict[str, Any], names: object) -> None:
        frames = values.setdefault("frames", {})
        if not isinstance(frames, dict):
            return
        for language, place, part, places in self._languages("include_frames", names):
            if language in frames:
                self._complain(place, f"the frames of {language!r} stand already in `frames`")
            else:
                frames[language] = part
                self.places.update({("frames", language, *key): at for key, at in places.items()})

    def _include_grammars(self, values: dict[str, Any], names: object) -> None:
        """Hand the grammars of one language, which stand in one file by rule, to the rules."""
        rules = values.get("rules")
        found = rules if isinstance(rules, list) else []
        at = {
            rule["id"]: number
            for number, rule in enumerate(found)
            if isinstance(rule, dict) and isinstance(rule.get("id"), str)
        }
        for language, place, part, places in self._languages("include_grammars", names):
            if not isinstance(part, dict):
                self._complain(place, "expected a mapping of rule: grammar")
                continue
            for rule_id, grammar in part.items():
                if rule_id not in at:
                    self._complain_at(places[(rule_id,)], f"no rule has the id {rule_id!r}")
                    continue
                grammars = found[at[rule_id]].setdefault("grammar", {})
                if not isinstance(grammars, dict):
                    continue  # its form is complained about in its place
                if language in grammars:
                    message = f"{rule_id} has a grammar of {language!r} already"
                    self._complain_at(places[(rule_id,)], message)
                    continue
                grammars[language] = grammar
                prefix: Location = ("rules", at[rule_id], "grammar", language)
                self.places.update(
                    {
                        (*prefix, *location[1:]): position
                        for location, position in places.items()
                        if location[:1] == (rule_id,)
                    }
                )

    def _languages(
        self, key: str, names: object
    ) -> Iterator[tuple[str, Location, Any, dict[Location, Position]]]:
        """Language, its place, values and places of each part that there is."""
        if not isinstance(names, dict):
            self._complain((key,), "expected a mapping of language: file")
            return
        for language, name in names.items():
            part, places = self._part(name, (key, language))
            if part is not None:
                yield language, (key, language), part, places

    def _part(self, name: object, place: Location) -> tuple[Any, dict[Location, Position]]:
        """The values of one part; `None` where there are none, which is complained about here."""
        if not isinstance(name, str) or not name:
            self._complain(place, "expected the relative path of a file")
            return None, {}
        folder = self.main.parent.resolve()
        path = self.main.parent / name
        try:
            resolved = path.resolve()
            exists = path.is_file()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, a loop of links
            self._complain(place, f"got {name!r:.80}, expected a path: {error}")
            return None, {}
        if Path(name).is_absolute() or not resolved.is_relative_to(folder):
            self._complain(place, f"got {name!r}, expected a path inside {folder}")
        elif resolved in {file.resolve() for file in self.files}:
            self._complain(place, f"{name!r} is included already")
        elif not exists:
            self._complain(place, f"no such file: {path}")
        else:
            return self._parse(path, place)
        return None, {}

    def _parse(self, path: Path, place: Location) -> tuple[Any, dict[Location, Position]]:
        self.files.append(path)
        values, places, findings = yaml_text.parse(path)
        self.findings += findings
        if values is None and not findings:
            self._complain(place, f"{path} is empty")
        return values, places

    def _complain(self, location: Location, message: str) -> None:
        self._complain_at(Positions(self.places, str(self.main)).of(location), message)

    def _complain_at(self, position: Position, message: str) -> None:
        self.findings.append(Finding(severity="error", position=position, message=message))


def _contradictions(constitution: Constitution, positions: Positions) -> list[Finding]:
    """What no single field is to blame for, yet makes a constitution unreadable."""
    findings = []
    if constitution.format != FORMAT:
        message = (
            f"got format {constitution.format}, expected {FORMAT}; another custodes may read it"
        )
        findings.append(
            Finding(severity="error", position=positions.of(("format",)), message=message)
        )
    first: dict[str, int] = {}
    for number, rule in enumerate(constitution.rules):
        if rule.id in first:
            before = positions.of(("rules", first[rule.id], "id"))
            findings.append(
                Finding(
                    severity="error",
                    position=positions.of(("rules", number, "id")),
                    message=f"the id {rule.id!r} stands already in {before.file}:{before.line}",
                    rule=rule.id,
                )
            )
        first.setdefault(rule.id, number)
    return findings


def _explain(details: ErrorDetails, positions: Positions) -> Finding:
    location: Location = details["loc"]
    name = location[-1] if location else "(top level)"
    if details["type"] == "missing":
        message = f"{name!r} is missing; expected it here"
    elif details["type"] == "extra_forbidden":
        fields = ", ".join(_form(location[:-1]).model_fields)
        message = f"unknown key {name!r}; expected one of {fields}"
    else:
        got = "nothing" if details["input"] is None else f"{details['input']!r:.60}"
        message = f"{name}: got {got}; {_expected(details)}"
    return Finding(severity="error", position=positions.of(location), message=message)


def _expected(details: ErrorDetails) -> str:
    """pydantic's words, with Python's types in the words of YAML."""
    words = details["msg"].replace("Input should be", "expected")
    for python, plain in (
        ("a valid tuple", "a list"),
        ("a valid string", "text"),
        ("a valid mapping", "a mapping"),
        ("a valid dictionary or instance of ", "the fields of a "),
        ("a valid dictionary", "a mapping"),
    ):
        words = words.replace(python, plain)
    return words


def _form(location: Location) -> type[Constitution | Rule | Grammar | Frames]:
    """The model whose fields stand at `location`."""
    match location:
        case ("rules", _):
            return Rule
        case ("rules", _, "grammar", _):
            return Grammar
        case ("frames", _):
            return Frames
        case _:
            return Constitution
