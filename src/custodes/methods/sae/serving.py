"""Serve a run's pages on this machine: features.html and report.html, read-only, nothing else.

Every request reads the file anew, so that a page can be looked at while runs replace it.
"""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from custodes.errors import ConfigError, DataError

__all__ = ["page_server"]

_PAGES = {
    "features.html": "text/html; charset=utf-8",
    "report.html": "text/html; charset=utf-8",
    "report.json": "application/json",
}
_HOSTS = ("127.0.0.1", "localhost")


def page_server(folder: Path, *, port: int = 8017) -> ThreadingHTTPServer:
    """A server of the run's pages on 127.0.0.1; `serve_forever` starts it, port 0 takes a free one.

    `/` is features.html, or report.html where there is none. `DataError` where there is neither;
    `ConfigError` where the port is taken.
    """
    first = next((name for name in _PAGES if (folder / name).is_file()), None)
    if first is None or not first.endswith(".html"):
        raise DataError(
            f"{folder}: holds neither features.html nor report.html; "
            "make one by: custodes method sae describe"
        )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # Another site's page must not read this one through a name that it makes ours.
            host = self.headers.get("Host", "").rsplit(":", 1)[0]
            name = self.path.partition("?")[0].removeprefix("/") or first
            if host not in _HOSTS or name not in _PAGES or not (folder / name).is_file():
                self.send_error(404)
                return
            body = (folder / name).read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", _PAGES[name])
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    try:
        return ThreadingHTTPServer((_HOSTS[0], port), Handler)
    except OSError as error:
        raise ConfigError(f"port: {port} cannot be had ({error}); give another") from error
