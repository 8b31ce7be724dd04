"""`custodes serve`: the gateway, in one process or in several that share a port.

Reads settings and starts servers; what a gateway does stands in `server`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from custodes.config import override, write_atomically
from custodes.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from custodes.server.config import GatewayConfig

__all__ = ["serve"]

_WORKER_CONFIG = "CUSTODES_WORKER_CONFIG"
_WORKER_SOCKET = "CUSTODES_WORKER_SOCKET"
_WORKER_PARENT = "CUSTODES_WORKER_PARENT"
_RESTART_SECONDS = 1.0
_WRONG_INPUT = 2
"""The status of a worker that cannot start with these settings: another one could not either."""


def serve(
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
    guard: Annotated[
        str | None, typer.Option(help="A guard's folder, a shipped guard, or none.")
    ] = None,
    upstream: Annotated[
        list[str] | None,
        typer.Option(metavar="embedded|NAME=URL", help="Where replies come from; repeatable."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share the port.")] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Ask for no key (localhost).")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other setting.")
    ] = None,
) -> None:
    """Stand in front of models and judge what goes in and what streams out.

    SIGHUP loads the guard again without dropping a stream; SIGTERM lets streams end, then leaves.
    """
    resolved = _resolve(
        config,
        {
            "guard": guard,
            "upstreams": _upstreams(upstream),
            "host": host,
            "port": port,
            "workers": workers,
            "no_auth": no_auth or None,
        },
        settings or [],
    )
    if _WORKER_SOCKET in os.environ:
        parent = int(os.environ[_WORKER_PARENT])
        threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
        with socket.socket(fileno=int(os.environ[_WORKER_SOCKET])) as listening:
            _run(resolved, listening)
        return
    with _listen(resolved.host, resolved.port) as listening:
        address = f"http://{resolved.host}:{listening.getsockname()[1]}"
        if resolved.workers == 1:
            _run(resolved, listening, address=address)
        else:
            _supervise(resolved, listening, address)


def _resolve(path: Path | None, flags: Mapping[str, Any], settings: list[str]) -> GatewayConfig:
    """The file, then the flags, then `--set`; a worker takes what its parent resolved."""
    try:
        from custodes.server.config import GatewayConfig
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "fastapi", "server") from error
    inherited = os.environ.get(_WORKER_CONFIG)
    if inherited is not None:
        return GatewayConfig.model_validate_json(Path(inherited).read_text(encoding="utf-8"))
    values = _read(path)
    values.update({name: value for name, value in flags.items() if value is not None})
    if values.get("guard") == "none":
        values["guard"] = None
    return GatewayConfig.parse(override(values, settings), origin=str(path or "custodes serve"))


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}; give a YAML file") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: got a {type(values).__name__}, expected a mapping of settings")
    return values


def _upstreams(given: list[str] | None) -> dict[str, Any] | None:
    """`embedded`, or `NAME=URL`; `NAME=anthropic+URL` and `NAME=both+URL` say what it speaks."""
    if not given:
        return None
    found: dict[str, Any] = {}
    for text in given:
        name, equals, address = text.partition("=")
        if text == "embedded":
            found[text] = {"model": "embedded"}
            continue
        kind, plus, rest = address.partition("+")
        if not plus or kind not in ("openai", "anthropic", "both"):
            kind, rest = "openai", address
        if not (name and equals and rest):
            raise ConfigError(
                f"--upstream: got {text!r}, expected embedded or NAME=URL such as "
                "local=http://127.0.0.1:8000/v1"
            )
        found[name] = {"url": rest, "kind": kind}
    return found


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error}; choose another with --port"
        ) from error
    listening.listen(2048)
    return listening


def _run(config: GatewayConfig, listening: socket.socket, *, address: str | None = None) -> None:
    """Serve in this process until a signal ends it; `address` is printed when it is ready."""
    try:
        import uvicorn

        from custodes.server.app import build_app, build_parts
        from custodes.server.persistence import open_database
        from custodes.server.telemetry import log_to
        from custodes.server.tracing import export_spans
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "uvicorn", "server") from error
    if config.traces:
        export_spans()
    sink, keys = open_database(config, clock=time.monotonic) or (None, None)
    app = build_app(config, build_parts(config, sink=sink, keys=keys))
    log_to(sys.stderr)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=int(config.drain_seconds) or 1,
        )
    )
    if address is not None:
        _announce(config, address)
    # uvicorn drains at the signal, then raises it again: by then there is nothing left to do
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server.run(sockets=[listening])


def _end_after(parent: int) -> None:
    """Drain and end where the parent is gone that hands signals on: nobody could end this worker
    by its address any more, nor start another gateway there."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _announce(config: GatewayConfig, address: str) -> None:
    typer.echo(f"custodes: serving at {address}")
    if config.console:
        typer.echo(f"custodes: console at {address}/console")
    typer.echo(
        f"custodes: guard {config.guard or 'none'}, upstreams {', '.join(config.upstreams)}"
        + (", no keys asked for" if config.no_auth else "")
    )
    sys.stdout.flush()


def _supervise(config: GatewayConfig, listening: socket.socket, address: str) -> None:
    """Keep `workers` processes at the port; hand signals on; replace those that die."""
    from prometheus_client.multiprocess import mark_process_dead

    from custodes.server.console.sessions import console_secret

    ended = False
    listening.set_inheritable(True)
    with tempfile.TemporaryDirectory(prefix="custodes-serve-") as folder:
        file = Path(folder) / "config.json"
        write_atomically(file, config.model_dump_json())
        environment = {
            **os.environ,
            _WORKER_CONFIG: str(file),
            _WORKER_SOCKET: str(listening.fileno()),
            _WORKER_PARENT: str(os.getpid()),
            "PROMETHEUS_MULTIPROC_DIR": folder,
            "CUSTODES_CONSOLE_SECRET": console_secret(),  # a session is good at every worker
        }

        def start() -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "custodes.cli.worker"]
            # a group of its own: Ctrl-C in a terminal reaches this process, which hands it on once
            return subprocess.Popen(
                command, env=environment, pass_fds=[listening.fileno()], process_group=0
            )

        def hand_on(number: int, _: object) -> None:
            nonlocal ended
            ended = ended or number != signal.SIGHUP
            for child in children:
                if child.poll() is None:
                    child.send_signal(number)

        children: list[subprocess.Popen[bytes]] = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, hand_on)
        children += [start() for _ in range(config.workers)]
        _announce(config, address)
        hopeless = False
        while not ended:
            time.sleep(0.2)
            for place, child in enumerate(children):
                if child.poll() is None or ended:
                    continue
                if child.returncode == _WRONG_INPUT:
                    hopeless = True
                    hand_on(signal.SIGTERM, None)
                    break
                typer.echo(f"custodes: worker {child.pid} died; another starts", err=True)
                # Or its open requests count for ever.
                mark_process_dead(child.pid, folder)  # type: ignore[no-untyped-call]
                time.sleep(_RESTART_SECONDS)
                if not ended:
                    children[place] = start()
        # Once more: one that was just started, or not yet in the list, has not heard it.
        hand_on(signal.SIGTERM, None)
        for child in children:
            child.wait()
    if hopeless:
        raise typer.Exit(_WRONG_INPUT)
