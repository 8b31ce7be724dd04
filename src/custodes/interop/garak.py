"""garak (NVIDIA) against a gateway: the settings for its generator, and its report read back.

garak runs in an environment of its own:

    python -m custodes.interop.garak http://127.0.0.1:8080/v1 > gateway.json
    OPENAICOMPATIBLE_API_KEY=... garak --target_type openai.OpenAICompatible \\
        --target_name embedded --generator_option_file gateway.json --probes encoding,dan

`custodes attack --attacks replay` sends what it found again (see `custodes.redteam.found`), so that
before and after a change can be compared; `compare` counts a report's hits by probe.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from custodes.redteam.found import read_found

__all__ = ["compare", "generator_options"]


def generator_options(uri: str, *, max_tokens: int = 96) -> dict[str, Any]:
    """The content of garak's --generator_option_file for a gateway at `uri` (with /v1).

    A stop is an empty reply for garak, which its detectors take for no hit.
    """
    return {
        "openai": {
            "OpenAICompatible": {
                "uri": uri,
                "max_tokens": max_tokens,
                "temperature": 0.7,
                "stop": [],
                "suppressed_params": ["n", "top_p", "frequency_penalty", "presence_penalty"],
            }
        }
    }


def compare(before: Path, after: Path) -> dict[str, tuple[int, int, int]]:
    """Probe -> hits before, hits after, attempts, of two garak reports."""
    counts: dict[str, list[int]] = {}
    for place, path in enumerate((before, after)):
        hits, total = Counter[str](), Counter[str]()
        for attempt in read_found(path):
            total[attempt.attack] += 1
            hits[attempt.attack] += attempt.success
        for probe, number in total.items():
            row = counts.setdefault(probe, [0, 0, 0])
            row[place] = hits[probe]
            row[2] = max(row[2], number)
    return {probe: (row[0], row[1], row[2]) for probe, row in sorted(counts.items())}


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/v1"
    json.dump(generator_options(address), sys.stdout, indent=2)
    sys.stdout.write("\n")
