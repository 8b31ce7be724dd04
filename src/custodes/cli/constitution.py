"""`custodes constitution`: check, show, diff, schema, list.

Findings and results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from custodes import constitution as constitutions
from custodes.constitution import Constitution, Difference, Finding, Part, Rule
from custodes.errors import ConstitutionError

__all__ = ["app"]

app = typer.Typer(
    help="Read, check and compare constitutions.", no_args_is_help=True, rich_markup_mode=None
)

_Path = Annotated[str, typer.Argument(metavar="PATH|NAME", help="A file, a folder, or a name.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def check(
    path: _Path,
    as_json: _Json = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
) -> None:
    """Lint a constitution; exit status 2 where there is an error."""
    source, findings = constitutions.examine(path)
    if source is not None:
        findings = constitutions.check(source.constitution, source.positions)
        findings += constitutions.unlisted(source)
    errors = sum(finding.severity == "error" for finding in findings)
    if as_json:
        _print_json([finding.to_record() for finding in findings])
    else:
        _print_findings(findings, errors)
    if errors or (strict and findings):
        raise typer.Exit(2)


@app.command()
def show(
    path: _Path,
    rule: Annotated[str | None, typer.Argument(metavar="[RULE]", help="Only this rule.")] = None,
    as_json: _Json = False,
) -> None:
    """Print a constitution, or one of its rules, for reading."""
    constitution = constitutions.read(path)
    shown = _find(constitution, rule) if rule else constitution
    if as_json:
        _print_json(shown.model_dump(mode="json"))
        return
    page = _rule_page(shown) if isinstance(shown, Rule) else _constitution_page(shown)
    Console(highlight=False, emoji=False).print(page)


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="The constitution before.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The constitution after.")],
    as_json: _Json = False,
) -> None:
    """Say which rules changed from A to B, and whose data must be written again."""
    difference = constitutions.diff(constitutions.read(first), constitutions.read(second))
    if as_json:
        _print_json(difference.to_record())
    else:
        typer.echo("\n".join(_difference_lines(difference)))


@app.command()
def schema(
    part: Annotated[Part, typer.Option(help="Which file's schema.")] = Part.CONSTITUTION,
) -> None:
    """Print the JSON schema of a constitution's files."""
    _print_json(constitutions.json_schema(part))


@app.command(name="list")
def list_shipped(as_json: _Json = False) -> None:
    """List the constitutions that come with custodes."""
    rows = []
    for name, path in constitutions.shipped().items():
        constitution = constitutions.read(path)
        rows.append(
            {
                "name": name,
                "version": constitution.version,
                "title": constitution.title,
                "restricted": len(constitution.restricted),
                "permitted": len(constitution.permitted),
            }
        )
    if as_json:
        _print_json(rows)
        return
    for row in rows:
        counts = f"{row['restricted']} restricted, {row['permitted']} permitted rules"
        typer.echo(f"{row['name']} {row['version']}: {row['title']} ({counts})")


def _print_json(values: Any) -> None:
    typer.echo(json.dumps(values, indent=2, ensure_ascii=False))


def _print_findings(findings: list[Finding], errors: int) -> None:
    for finding in findings:
        typer.echo(str(finding))
    typer.echo(f"{errors} errors, {len(findings) - errors} warnings", err=True)


def _find(constitution: Constitution, rule_id: str) -> Rule:
    try:
        return constitution.rule(rule_id)
    except KeyError:
        known = ", ".join(rule.id for rule in constitution.rules)
        raise ConstitutionError(
            f"{constitution.id} has no rule {rule_id!r}; expected one of {known}"
        ) from None


def _constitution_page(constitution: Constitution) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    for heading in ("rule", "title", "polarity", "severity", "languages", "neighbors"):
        table.add_column(heading, overflow="fold", header_style="bold")
    for rule in constitution.rules:
        neighbors = ", ".join(rule.boundary_with)
        cells = (rule.id, rule.title, rule.polarity.value, rule.severity.value)
        table.add_row(*map(Text, (*cells, " ".join(rule.grammar), neighbors)))
    head = Text(f"{constitution.title} ({constitution.id} {constitution.version})", style="bold")
    description = [Text(constitution.description.strip())] if constitution.description else []
    return Group(head, *description, Text(), table)


def _rule_page(rule: Rule) -> RenderableType:
    parts: list[RenderableType] = [
        Text(f"{rule.title} ({rule.id})", style="bold"),
        Text(
            f"{rule.polarity.value}, severity {rule.severity.value}, "
            f"applies to {', '.join(rule.applies_to)}"
        ),
        Text(),
        Text(rule.text.strip()),
    ]
    for heading, entries in (
        ("Subtopics", rule.subtopics),
        ("Examples", rule.examples),
        ("Boundary examples", rule.boundary_examples),
        ("Neighbors", rule.boundary_with),
        ("Grammar", tuple(_grammar_lines(rule))),
    ):
        if entries:
            lines = Text("\n".join(f"- {entry}" for entry in entries))
            parts += [Text(), Text(heading, style="bold"), Padding(lines, (0, 0, 0, 2))]
    return Group(*parts)


def _grammar_lines(rule: Rule) -> Iterable[str]:
    for language, grammar in rule.grammar.items():
        counts = {
            "slots": grammar.slots,
            "intents": grammar.intents,
            "requests": grammar.requests,
            "statements": grammar.statements,
            "steps": grammar.steps,
        }
        said = ", ".join(f"{len(entries)} {name}" for name, entries in counts.items() if entries)
        yield f"{language}: {said}"


def _difference_lines(difference: Difference) -> Iterable[str]:
    if not difference:
        yield "no difference"
        return
    if difference.header_changed:
        yield f"header: {', '.join(difference.header_changed)}"
    for rule_id in difference.added:
        yield f"added: {rule_id}"
    for rule_id in difference.removed:
        yield f"removed: {rule_id}"
    for rule_id, fields in difference.changed.items():
        yield f"changed: {rule_id} ({', '.join(fields)})"
    for language in difference.frames_changed:
        yield f"changed: the frames of {language}"
    yield f"to write again: {', '.join(difference.regenerate) or 'nothing'}"
