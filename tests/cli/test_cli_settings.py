"""What may be set: every command that takes settings lists them, and errors name them."""

from typing import Literal

import pytest
import typer
from typer.testing import CliRunner

from custodes.cli import app
from custodes.cli.settings import SETTINGS
from custodes.config import Config, manual
from custodes.errors import ConfigError


class Inner(Config):
    depth: int = 3
    """How deep."""
    kind: Literal["near", "far"] = "near"
    """Where."""


class Outer(Config):
    name: str
    """Who."""
    inner: Inner = Inner(depth=5)
    """The inner part."""
    other: Inner | None = None
    """Another one."""
    many: tuple[int, ...] = (1, 2)
    """Numbers."""


def taking_settings(command, words=()):
    for parameter in command.params:
        if "--set" in parameter.opts:
            yield " ".join(words)
    for name, below in getattr(command, "commands", {}).items():
        yield from taking_settings(below, (*words, name))


def test_every_command_that_takes_settings_lists_them():
    found = set(taking_settings(typer.main.get_command(app)))
    assert set(SETTINGS.names()) == found - {"score"}  # its settings are of the engine it names
    for name in SETTINGS.names():
        done = CliRunner().invoke(app, ["settings", *name.split()])
        assert done.exit_code == 0, done.output
        found = list(manual(SETTINGS.load(name)))
        assert len(found) > 1 and all(one.meaning for one in found)
        assert all(f"{one.name}: {one.default}".rstrip() in done.output for one in found)
    assert CliRunner().invoke(app, ["settings"]).output.count("custodes settings ") == len(
        SETTINGS.names()
    )


def test_defaults_are_those_of_the_section_that_holds_them():
    found = {one.name: (one.default, one.meaning) for one in manual(Outer)}
    assert found == {
        "name": ("(must be given)", "Who."),
        "inner": ("", "The inner part."),
        "inner.depth": ("5", "How deep."),
        "inner.kind": ("near", "Where. One of near, far."),
        "other": ("null", "Another one."),
        "other.depth": ("3", "How deep."),
        "other.kind": ("near", "Where. One of near, far."),
        "many": ("[1, 2]", "Numbers."),
    }


def test_an_unknown_name_is_answered_with_its_own_section():
    with pytest.raises(ConfigError, match=r"known fields of inner: depth, kind$"):
        Outer.parse({"name": "a", "inner": {"dept": 1}})
    with pytest.raises(ConfigError, match=r"known fields: inner, many, name, other$"):
        Outer.parse({"name": "a", "iner": {}})
