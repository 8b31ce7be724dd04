"""The command line: one file a verb; this one joins them and is the last to catch an error.

Exit status: 0 done, 1 something failed, 2 the input was wrong, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from custodes import __version__
from custodes.cli.attack import attack, transcripts
from custodes.cli.audit import app as audit_app
from custodes.cli.calibrate import calibrate
from custodes.cli.conformance import conformance
from custodes.cli.constitution import app as constitution_app
from custodes.cli.data import app as data_app
from custodes.cli.ensemble import ensemble
from custodes.cli.evaluate import evaluate
from custodes.cli.keys import app as keys_app
from custodes.cli.method import app as method_app
from custodes.cli.reproduce import reproduce
from custodes.cli.review import app as review_app
from custodes.cli.score import score
from custodes.cli.serve import serve
from custodes.cli.settings import settings
from custodes.cli.synth import synth
from custodes.cli.train import train
from custodes.errors import CustodesError, InputError, MissingExtraError

__all__ = ["app", "main"]

_WRONG_PLACE = (
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
    PermissionError,
)


class _UntoldError(BaseException):
    """Carries what typer would tell in its own words, or end with a status of its own."""


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, EOFError, BrokenPipeError) as error:
            raise _UntoldError from error


app = typer.Typer(
    name="custodes",
    cls=_Commands,
    help="Build, serve, attack and audit the systems that watch AI models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(constitution_app, name="constitution")
app.command()(synth)
app.command()(train)
app.command()(calibrate)
app.command()(evaluate)
app.command()(ensemble)
app.command()(score)
app.command()(attack)
app.command()(transcripts)
app.command()(reproduce)
app.command()(serve)
app.command()(conformance)
app.command()(settings)
app.add_typer(data_app, name="data")
app.add_typer(method_app, name="method")
app.add_typer(keys_app, name="keys")
app.add_typer(audit_app, name="audit")
app.add_typer(review_app, name="review")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"custodes {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run a command; every error ends in one clear message and a status, never in a traceback."""
    sys.exit(_run())


def _run() -> int:
    try:
        try:
            app()
        except _UntoldError as untold:
            raise untold.__cause__ or untold from None
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except KeyboardInterrupt:
        typer.echo("custodes: interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader is gone; let the interpreter's last flush go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CustodesError as error:
        typer.echo(f"custodes: error: {error}", err=True)
        return 2 if isinstance(error, InputError | MissingExtraError) else 1
    except OSError as error:
        return _tell(error)
    except Exception as error:  # noqa: BLE001 - the top of the command line
        if os.environ.get("CUSTODES_DEBUG"):
            traceback.print_exc()
        typer.echo(
            f"custodes: internal error: {type(error).__name__}: {error}\n"
            "This is a bug. Set CUSTODES_DEBUG=1 to see where, and report it.",
            err=True,
        )
        return 1
    return 0


def _tell(error: OSError) -> int:
    """A file or folder that cannot be used: its name, the system's reason, and the status."""
    if os.environ.get("CUSTODES_DEBUG"):
        traceback.print_exc()
    place = f"{error.filename}: " if error.filename else ""
    typer.echo(f"custodes: error: {place}{error.strerror or error}", err=True)
    return 2 if isinstance(error, _WRONG_PLACE) else 1
