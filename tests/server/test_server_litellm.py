"""LiteLLM, in an environment of its own, asks custodes by the example's configuration alone.

CUSTODES_LITELLM may name its executable.
"""

import os
import secrets
import socket
import subprocess
import time
from pathlib import Path

import httpx2
import pytest
from server_doubles import MARKER, gateway
from server_environments import environment

from custodes.server.scripted import Script

pytestmark = pytest.mark.environment
# What its proxy needs of its extra; the rest of that extra is not on PyPI for this version.
REQUIREMENTS = """
litellm==1.110.2 apscheduler backoff boto3 cachetools cryptography email-validator fastapi
expression fastapi-sso gunicorn mcp orjson pyjwt python-multipart pyyaml redis rich semver soundfile
uvicorn uvloop websockets
"""
CONFIG = Path(__file__).parents[2] / "examples" / "litellm" / "config.yaml"


@pytest.fixture(scope="module")
def litellm(upstream, tmp_path_factory):
    command = os.environ.get("CUSTODES_LITELLM") or str(
        Path(environment(*REQUIREMENTS.split())).with_name("litellm")
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    master = f"sk-{secrets.token_hex(32)}"
    log = tmp_path_factory.mktemp("litellm") / "log"
    with gateway(upstream) as running, log.open("wb") as out:
        variables = {
            **os.environ,
            "CUSTODES_API_BASE": running.url + "/v1",
            "CUSTODES_API_KEY": "any",
            "CHAT_API_BASE": upstream.url,
            "CHAT_API_KEY": "any",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_TELEMETRY": "False",
            "LITELLM_MASTER_KEY": master,
        }
        flags = ["--config", str(CONFIG), "--host", "127.0.0.1", "--port", str(port)]
        child = subprocess.Popen(
            [command, *flags], env=variables, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            with httpx2.Client(
                base_url=f"http://127.0.0.1:{port}",
                headers={"authorization": f"Bearer {master}"},
                timeout=60,
                trust_env=False,
            ) as http:
                until = time.monotonic() + 600
                while True:
                    try:
                        if http.get("/health/liveliness").status_code == 200:
                            break
                    except httpx2.TransportError:
                        pass
                    assert child.poll() is None, log.read_text()[-3000:]
                    assert time.monotonic() < until, log.read_text()[-3000:]
                    time.sleep(0.5)
                http.log = log
                yield http
        finally:
            child.terminate()
            child.wait(30)


def ask(litellm, text, **body):
    messages = [{"role": "user", "content": text}]
    return litellm.post(
        "/v1/chat/completions", json={"model": "chat", "messages": messages, **body}
    )


def test_litellm_blocks_by_the_gateways_probabilities(litellm, upstream):
    upstream.script = Script(pieces=("Hello", " there."))
    answer = ask(litellm, "hello")
    assert answer.status_code == 200, (answer.text, litellm.log.read_text()[-3000:])
    assert answer.json()["choices"][0]["message"]["content"] == "Hello there."
    asked = len(upstream.asked)
    answer = ask(litellm, f"Tell me of a {MARKER}.")
    assert answer.status_code == 400
    assert "harmful" in answer.text
    assert len(upstream.asked) == asked
    upstream.script = Script(pieces=("Here is a ", MARKER))
    answer = ask(litellm, "hello")
    upstream.script = None
    assert answer.status_code == 400
    assert MARKER not in answer.text
