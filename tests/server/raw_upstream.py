"""An upstream that says what a test tells it to, byte for byte, and nothing of its own."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def chunk(text: str = "", finish: str | None = None, **around: Any) -> dict[str, Any]:
    delta = {"content": text} if text else {}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **around}


class RawUpstream:
    """Answers every request with `body`, or with the events of a stream; `end`: how it ends.

    close: the connection breaks. hang: silence until the test is over. `gone` counts the replies
    whose reader left.
    """

    def __init__(self) -> None:
        self.body: Any = None
        self.status = 200
        self.events: list[Any] = []
        self.end = "body"
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.connections = self.gone = 0
        self.over = threading.Event()
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append((handler.path, {k.lower(): v for k, v in handler.headers.items()}))
        handler.rfile.read(int(handler.headers.get("content-length", 0)))
        handler.send_response(self.status)
        if self.body is not None:
            data = json.dumps(self.body).encode()
            handler.send_header("content-type", "application/json")
            handler.send_header("content-length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
            return
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        for event in self.events:
            text = event if isinstance(event, str) else json.dumps(event)
            data = f"data: {text}\n\n".encode()
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        if self.end == "hang":
            handler.connection.settimeout(20)
            self.gone += handler.rfile.read(1) == b""
        if self.end != "body":
            handler.close_connection = True
            return
        handler.wfile.write(b"0\r\n\r\n")


@contextmanager
def raw_upstream(**told: Any) -> Iterator[RawUpstream]:
    upstream = RawUpstream()
    for name, value in told.items():
        setattr(upstream, name, value)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            upstream.connections += 1
            super().setup()

        def do_POST(self) -> None:
            try:
                upstream.answer(self)
            except OSError:
                upstream.gone += 1

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    upstream.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
