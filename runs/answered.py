"""Exchanges as the guarded model itself would write them: its replies to a synthesis' prompts.

    python runs/answered.py EXAMPLES.parquet OUT.parquet [--rows 300] [--model embedded]

A grammar's replies read otherwise than a model's, and a classifier that has only seen the former
misses the latter. Plain prompts of EXAMPLES (no transform, one turn), evenly from all rules, are
put to the model; each reply stands in an exchange and alone, with the prompt's label, and stays in
the prompt's group. A label is the prompt's, so it is wrong where the model refused or strayed.
Replies are kept by prompt in the cache: a second run asks only what is new.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from custodes.config import cache_folder, write_atomically
from custodes.data import conversation, read, write
from custodes.models import MODELS, GenerateModel, Sampling
from custodes.types import Conversation, Example, Message

BATCH = 16


def plain_prompts(rows: Sequence[Example], most: int, seed: int) -> list[Example]:
    """At most so many labelled prompts of one turn without a transform, evenly from all rules."""
    by_rule: dict[str, list[Example]] = {}
    for row in rows:
        turns = conversation(row)
        if row.label is not None and not row.transforms and [t.role for t in turns] == ["user"]:
            by_rule.setdefault(str(row.rule), []).append(row)
    rng = random.Random(seed)
    for those in by_rule.values():
        rng.shuffle(those)
    found = []
    while len(found) < most and any(by_rule.values()):
        found += [those.pop() for those in by_rule.values() if those]
    return found[:most]


def replies(
    model: GenerateModel, prompts: Sequence[Conversation], sampling: Sampling, folder: Path
) -> list[str]:
    """The model's reply to each prompt; what `folder` has is read."""
    told = json.dumps([model.description, sampling.max_tokens, sampling.temperature, sampling.seed])
    places = [
        folder / f"{hashlib.sha256(f'{told}{turns[-1].content}'.encode()).hexdigest()[:24]}.json"
        for turns in prompts
    ]
    new = [number for number, place in enumerate(places) if not place.is_file()]
    for start in range(0, len(new), BATCH):
        batch = new[start : start + BATCH]
        written = model.generate([prompts[number] for number in batch], sampling)
        for number, reply in zip(batch, written, strict=True):
            write_atomically(places[number], json.dumps(reply.text))
        print(f"{start + len(batch)} of {len(new)} replies", flush=True)
    return [json.loads(place.read_text(encoding="utf-8")) for place in places]


def exchanges(row: Example, reply: str, writer: str) -> list[Example]:
    """The reply in its context and by itself."""
    context = conversation(row)
    said = Message("assistant", reply)
    kind = "harmful_exchange" if row.label == 1 else "benign_exchange"
    made = replace(row, kind=kind, text=None, writer=writer, request_label=row.label)
    return [
        replace(made, id=f"{row.id}-answered", messages=(*context, said)),
        replace(made, id=f"{row.id}-answer", messages=(said,), request_label=None),
    ]


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("examples", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--model", default="embedded", help="a backend, or NAME=JSON settings")
    parser.add_argument("--tokens", type=int, default=64, help="of a reply")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    name, _, settings = options.model.partition("=")
    backend = MODELS.load(name)
    model = backend(backend.Config.parse(json.loads(settings or "{}"), origin="--model"))
    chosen = plain_prompts(read(options.examples), options.rows, options.seed)
    sampling = Sampling(max_tokens=options.tokens, temperature=1.0, seed=options.seed)
    prompts = [conversation(row) for row in chosen]
    said = replies(model, prompts, sampling, cache_folder() / "answered")
    rows = [
        made
        for row, reply in zip(chosen, said, strict=True)
        if reply.strip()
        for made in exchanges(row, reply, model.description)
    ]
    write(options.out, rows)
    print(f"{len(rows)} rows: {options.out}")


if __name__ == "__main__":
    main()
