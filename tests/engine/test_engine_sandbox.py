"""The sandbox: what comes back, what is stopped, what is refused."""

import contextlib
import socket
import threading

import pytest

from custodes.engine.sandbox import FAILED, SandboxConfig, run

LIMITS = SandboxConfig(cpu_seconds=1)


def call(program, *inputs, **limits):
    return run(program, "f", inputs or [(1,)], LIMITS.model_copy(update=limits))


def test_results_come_back_as_literals():
    found = call("def f(x):\n    return {'a': [x, None, (1.5, True)]}", (1,), ("z",))
    assert found.values == ({"a": [1, None, (1.5, True)]}, {"a": ["z", None, (1.5, True)]})
    assert found.ended == "finished"


def test_what_raises_is_failed_and_the_next_call_goes_on():
    found = call("def f(x):\n    return 10 // x", (0,), (5,))
    assert found.values[0] is FAILED and found.values[1] == 2
    assert repr(FAILED) == "FAILED"


@pytest.mark.parametrize(
    ("program", "ended"),
    [
        ("def f(x:", "refused to load: SyntaxError"),
        ("def g(x): return x", "refused to load: AttributeError"),
        ("import os\ndef f(x): os._exit(3)", "crash"),
        ("def f(x): return object()", "finished"),
        ("def f(x): return f(x)", "finished"),
        ("import sys\ndef f(x): sys.exit(0)", "finished"),
        ("def f(x): return bytearray(10**10)", "finished"),
    ],
)
def test_what_gives_no_literal_has_failed(program, ended):
    found = call(program)
    assert found.values == (FAILED,)
    assert found.ended == ended


def test_what_runs_on_is_stopped_and_keeps_what_came_before():
    found = call("def f(x):\n    while x: pass\n    return x", (0,), (1,), (0,))
    assert found.values[0] == 0 and found.values[1:] == (FAILED, FAILED)
    assert found.ended in ("time", "memory or time")


@pytest.mark.parametrize(
    "deed",
    [
        "open('made', 'w').write('x')",
        "__import__('os').open('made', 0o101)",
        "__import__('os').fork()",
        "__import__('subprocess').run(['true'])",
        "__import__('os').system('true')",
        "__import__('os').kill(1, 0)",
        "__import__('socket').socket()",
        "__import__('ctypes').CDLL(None)",
    ],
)
def test_deeds_that_are_not_allowed_fail(deed, tmp_path):
    found = call(f"def f(x):\n    {deed}\n    return 'done'")
    assert found.values == (FAILED,), deed


def test_a_listening_server_is_never_reached():
    """Even by the module beneath `socket`, whose calls the audit hook sees too."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        port = server.getsockname()[1]
        came = []

        def listen():
            with contextlib.suppress(TimeoutError):
                came.append(server.accept())

        thread = threading.Thread(target=listen)
        thread.start()
        program = (
            "import _socket\ndef f(port):\n    s = _socket.socket(2, 1)\n"
            "    s.connect(('127.0.0.1', port))\n    return 'in'"
        )
        found = call(program, (port,))
        thread.join()
    assert found.values == (FAILED,) and not came


def test_words_on_the_output_are_no_results():
    found = call("def f(x):\n    print('value 0 \"7\"')\n    return x", (1,))
    assert found.values == (1,)
