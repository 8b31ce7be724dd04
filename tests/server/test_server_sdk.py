"""The vendors' own clients, in an environment of their own, take the gateway for the real thing.

CUSTODES_SDK_PYTHON may name a Python with `openai` and `anthropic` installed.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from server_doubles import MARKER
from server_environments import environment

from custodes.server.scripted import Script

pytestmark = pytest.mark.environment
SCRIPT = Path(__file__).parent / "sdk_client.py"


@pytest.fixture(scope="module")
def sdk(running):
    python = os.environ.get("CUSTODES_SDK_PYTHON") or environment("openai", "anthropic")
    prompts = {
        "benign": Script(pieces=("Hello", " there")).prompt(),
        "harmful": Script(pieces=("Hello ", MARKER, "!")).prompt(),
        "tool": Script(channel="tool", pieces=('{"a":', " 1}")).prompt(),
        "broken": Script(fault="drop", fault_at=1).prompt(),
        "input": MARKER,
    }
    done = subprocess.run(
        [python, str(SCRIPT), running.url, json.dumps(prompts)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_openai_chat(sdk):
    assert sdk["chat"]["benign"] == ["Hello there", "stop"]
    assert sdk["chat"]["harmful"] == ["Hello ", "content_filter"]
    assert sdk["chat"]["input"] == ["", "content_filter"]
    assert sdk["chat whole"] == sdk["chat"]
    assert sdk["chat tool"] == {"a": 1}
    assert sdk["chat broken"] == "APIError"


def test_openai_completions_moderations_models(sdk):
    assert sdk["completions"]["benign"] == ["Hello there", "stop"]
    assert sdk["completions"]["harmful"] == ["Hello ", "content_filter"]
    assert sdk["moderations"] == [False, True]
    assert sdk["models"] == ["scripted"]
    assert sdk["unauthorized"] == "BadRequestError"


def test_openai_decisions(sdk):
    assert sdk["decisions"][0] == "predicate"
    assert sdk["decisions"][1] > 0.8


def test_anthropic_messages(sdk):
    assert sdk["messages"]["benign"] == ["Hello there", "end_turn"]
    assert sdk["messages"]["harmful"] == ["Hello ", "refusal"]
    assert sdk["messages"]["input"] == ["", "refusal"]
    assert sdk["messages whole"] == sdk["messages"]
    assert sdk["messages details"] == "general_harms"
    assert sdk["messages tool"] == {"a": 1}
    assert sdk["messages broken"] == "APIStatusError"
