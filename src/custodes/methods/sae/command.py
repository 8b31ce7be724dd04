"""`custodes method sae ...`: sparse autoencoders on the command line.

Parses, calls, prints; everything else is imported when a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from custodes.config.options import Assignments, SettingsFile

__all__ = ["app"]

app = typer.Typer(
    help="Sparse autoencoders: seeds, random networks, descriptions from both ends.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Texts = Annotated[
    list[Path], typer.Argument(help="Texts: .parquet, .jsonl, .jsonl.gz, .txt, .md or folders.")
]
_Store = Annotated[Path, typer.Argument(help="Folder that `collect` made.")]
_Port = Annotated[int, typer.Option(help="Where pages are served; 0 takes a free port.")]
_Out = Annotated[Path, typer.Option("--out", help="Folder of the run.")]


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _load(name: str, config: Path | None, assign: list[str] | None) -> Any:
    from custodes.config import load
    from custodes.methods.sae import config as settings

    return load(getattr(settings, name), config, assign or ())


@app.command()
def collect(
    texts: _Texts, out: _Out, config: SettingsFile = None, assign: Assignments = None
) -> None:
    """Activations of a model at any hook, once, into a store; goes on where it was stopped."""
    settings = _load("CollectConfig", config, assign)
    from custodes.methods.sae.method import run_collect

    store = run_collect(settings, texts, out, say=_say)
    typer.echo(f"{store.rows:,} activations of {', '.join(store.facts.widths)}: {out}")


@app.command()
def train(
    store: _Store, out: _Out, config: SettingsFile = None, assign: Assignments = None
) -> None:
    """Many kinds, sizes and seeds from one pass over a store, with untrained nulls."""
    settings = _load("TrainConfig", config, assign)
    from custodes.methods.sae.method import run_train
    from custodes.methods.sae.store import ActivationStore

    typer.echo(str(run_train(ActivationStore(store), settings, out, say=_say)))


@app.command()
def compare(
    folders: Annotated[
        list[Path], typer.Argument(help="Autoencoders, as SAELens or sparsify keep them.")
    ],
    out: _Out,
    store: Annotated[
        Path | None, typer.Option("--store", help="Adds L0 and explained variance.")
    ] = None,
    hook: Annotated[str, typer.Option(help="The store's hook, where it has several.")] = "",
    config: SettingsFile = None,
    assign: Assignments = None,
) -> None:
    """Which features seeds share: optimal matching with a certificate, and nulls."""
    settings = _load("CompareConfig", config, assign)
    from custodes.methods.sae.method import run_compare
    from custodes.methods.sae.store import ActivationStore

    opened = ActivationStore(store) if store is not None else None
    typer.echo(str(run_compare(folders, settings, out, store=opened, hook=hook, say=_say)))


@app.command()
def describe(
    store: _Store,
    autoencoder: Annotated[Path, typer.Argument(help="Folder of one autoencoder.")],
    out: _Out,
    config: SettingsFile = None,
    assign: Assignments = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Then show the pages on this machine, until Ctrl-C.")
    ] = False,
    port: _Port = 8017,
) -> None:
    """Descriptions from inputs and outputs, their scores, and features.html to look at."""
    settings = _load("DescribeConfig", config, assign)
    from custodes.methods.sae.describing import run_describe
    from custodes.methods.sae.store import ActivationStore

    typer.echo(str(run_describe(ActivationStore(store), autoencoder, settings, out, say=_say)))
    if serve:
        _show(out, port)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, such as describe's.")],
    port: _Port = 8017,
) -> None:
    """Serve a run's features.html and report.html on this machine, until Ctrl-C."""
    _show(folder, port)


def _show(folder: Path, port: int) -> None:
    from custodes.methods.sae.serving import page_server

    with page_server(folder, port=port) as server:
        typer.echo(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C ends)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


@app.command()
def null(texts: _Texts, out: _Out, config: SettingsFile = None, assign: Assignments = None) -> None:
    """The same autoencoders on the trained network and on random ones."""
    settings = _load("NullConfig", config, assign)
    from custodes.methods.sae.method import run_null
    from custodes.methods.sae.texts import read_texts

    typer.echo(str(run_null(settings, lambda: read_texts(texts), out, say=_say)))


@app.command()
def toy(out: _Out, config: SettingsFile = None, assign: Assignments = None) -> None:
    """The toy model: sparse inputs, a Gaussian control, a random MLP's outputs."""
    settings = _load("ToyConfig", config, assign)
    from custodes.methods.sae.method import run_toy

    typer.echo(str(run_toy(settings, out, say=_say)))
