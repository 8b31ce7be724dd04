"""How fast attacks are made and judged, beside PyRIT's converters in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import time
from random import Random

from custodes.guard import load_guard
from custodes.redteam import read_questions
from custodes.redteam.probes import user
from custodes.synthesis.transforms import TRANSFORMS
from custodes.types import Mode

PAIRS = {
    "base64": "Base64Converter",
    "rot13": "ROT13Converter",
    "caesar": "CaesarConverter",
    "morse": "MorseConverter",
    "leetspeak": "LeetspeakConverter",
}
PEER = """
import asyncio, json, sys, time
import pyrit.converter as converters
texts = json.load(sys.stdin)
async def main():
    found = {}
    for name in %r:
        kind = getattr(converters, name)
        made = kind(caesar_offset=7) if name == "CaesarConverter" else kind()
        began = time.process_time()
        for text in texts:
            await made.convert_async(prompt=text, input_type="text")
        found[name] = time.process_time() - began
    print(json.dumps(found))
asyncio.run(main())
"""


def figures(options) -> list[dict]:
    count = 200 if options.size == "tiny" else 2000
    benign = read_questions("fermentation").benign(300)
    texts = [benign[n % len(benign)] + f" ({n})" for n in range(count)]
    rows = []
    ours = {}
    for name in PAIRS:
        transform, rng = TRANSFORMS.load(name), Random(0)
        began = time.process_time()
        made = [transform.to_reply(text, rng) for text in texts]
        ours[name] = time.process_time() - began
    rows.append(
        {
            "figure": "transforms a CPU-second, custodes, five codes",
            "value": len(PAIRS) * count / sum(ours.values()),
            "unit": "/s",
            "seeds": [0],
        }
    )
    theirs = _peer(options, texts)
    if theirs:
        rows.append(
            {
                "figure": "transforms a CPU-second, PyRIT 1.1.0, the same five codes",
                "value": len(PAIRS) * count / sum(theirs.values()),
                "unit": "/s",
                "seeds": [0],
            }
        )
    guard = load_guard(options.guard / "guard")
    some = 64 if options.size == "tiny" else 256
    began = time.process_time()
    guard.judge_many([user(text) for text in made[:some]], Mode.INPUT)
    judging = (time.process_time() - began) / some
    for who, seconds in (("custodes", ours), ("PyRIT 1.1.0 converters", theirs)):
        if seconds:
            making = sum(seconds.values()) / (len(PAIRS) * count)
            rows.append(
                {
                    "figure": f"attacks made by {who} and judged, a CPU-second",
                    "value": 1 / (making + judging),
                    "unit": "/s",
                    "seeds": [0],
                }
            )
    return rows


def _peer(options, texts: list[str]) -> dict[str, float]:
    if options.peer is None:
        print("  no --peer: PyRIT is not measured", flush=True)
        return {}
    done = subprocess.run(
        [str(options.peer), "-c", PEER % (list(PAIRS.values()),)],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        print(f"  the peer failed: {done.stderr[-300:]}", flush=True)
        return {}
    found = json.loads(done.stdout.splitlines()[-1])
    return {ours: found[theirs] for ours, theirs in PAIRS.items()}
