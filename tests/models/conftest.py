"""A tiny random Llama with a tiny trained tokenizer, and a real HTTP server that plays a part."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from custodes.models.tuning import CHATML

TINY = {
    "told": ["the quick brown fox jumps over the lazy dog"] * 4,
    "tokens": 330,
    "special": ["<|begin|>", "<|im_start|>", "<|im_end|>"],
    "begin": "<|begin|>",
    "end": "<|im_end|>",
    "max_position_embeddings": 96,
}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, save_llama):
    folder = tmp_path_factory.mktemp("tiny")
    save_llama(folder, template=CHATML, **TINY)
    return folder


@pytest.fixture(scope="session")
def tiny_folder_with_begin(tmp_path_factory, save_llama):
    folder = tmp_path_factory.mktemp("tiny-begin")
    save_llama(folder, begins=True, **TINY)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    from custodes.models import MODELS

    model = MODELS.load("transformers")
    return model(model.Config(model=str(tiny_folder), threads=1, batch_size=4))


@dataclass
class Answered:
    """What the server does with one request."""

    status: int = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    chunks: tuple[bytes, ...] | None = None
    """Streamed pieces; None answers with `body` as JSON (bytes as they are)."""
    pause: float = 0.0
    """Seconds before the answer and between chunks."""
    drop: bool = False
    """Break the connection after the chunks, without the final one."""
    hold: threading.Event | None = None
    """Wait for it before the answer."""


class Server:
    """Plays `answers` in order, the last one for ever; keeps what was asked."""

    def __init__(self) -> None:
        self.answers: list[Answered] = [Answered()]
        self.asked: list[tuple[str, dict, dict]] = []
        self.closed_early = threading.Event()
        self.busiest = 0
        self._busy = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                body = json.loads(self.rfile.read(length))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with server._lock:
                    server._busy += 1
                    server.busiest = max(server.busiest, server._busy)
                    server.asked.append((self.path, headers, body))
                    more = len(server.answers) > 1
                    answer = server.answers.pop(0) if more else server.answers[0]
                try:
                    server._play(self, answer, body)
                except (BrokenPipeError, ConnectionResetError):
                    server.closed_early.set()
                finally:
                    with server._lock:
                        server._busy -= 1

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def _play(self, handler: BaseHTTPRequestHandler, answer: Answered, body: dict) -> None:
        time.sleep(answer.pause)
        if answer.hold is not None:
            answer.hold.wait(5)
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if answer.chunks is None:
            said = answer.body(body) if callable(answer.body) else answer.body
            data = said if isinstance(said, bytes) else json.dumps(said).encode()
            handler.send_header("content-length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
            return
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        for chunk in answer.chunks:
            handler.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            handler.wfile.flush()
            time.sleep(answer.pause)
        if answer.drop:
            handler.close_connection = True
            handler.connection.close()
        else:
            handler.wfile.write(b"0\r\n\r\n")

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def answered() -> type[Answered]:
    return Answered


@pytest.fixture
def sse() -> Callable[..., bytes]:
    """Encode one event."""

    def encode(data: object, name: str | None = None) -> bytes:
        text = data if isinstance(data, str) else json.dumps(data)
        head = f"event: {name}\n" if name else ""
        return f"{head}data: {text}\n\n".encode()

    return encode


@dataclass
class Waits:
    """Time that passes only by sleeping."""

    slept: list[float] = field(default_factory=list)
    chance: float = 0.5

    def timing(self):
        from custodes.models.remote import Timing

        return Timing(
            clock=lambda: sum(self.slept),
            now=lambda: 1_700_000_000.0,
            sleep=self.slept.append,
            chance=lambda: self.chance,
        )


@pytest.fixture
def waits() -> Waits:
    return Waits()
