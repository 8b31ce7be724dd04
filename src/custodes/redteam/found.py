"""Attempts in other people's files, as attempts: JailbreakBench artifacts, garak reports; and ours
as artifacts.

Formats: JailbreakBench (Chao et al., arXiv 2404.01318; `attack-artifacts/METHOD/KIND/MODEL.json`);
garak 0.9 to 0.17 (`*.report.jsonl`, entries of the type `attempt`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from custodes.config import write_atomically
from custodes.errors import DataError
from custodes.redteam.probes import user
from custodes.redteam.questions import QuestionSet
from custodes.redteam.records import Attempt, Fight
from custodes.types import Conversation, Message

__all__ = ["read_found", "write_artifact"]

_ROLES = frozenset({"system", "user", "assistant", "tool"})


def read_found(path: Path) -> list[Attempt]:
    """The attempts of a campaign, an artifact or a garak report, told apart by their content."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            values = json.loads(text)
            return list(_of_artifact(values, path))
        lines = [json.loads(line) for line in text.split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    try:
        if lines and "entry_type" in lines[0]:
            return list(_of_garak(lines))
        return [Attempt.from_values(line) for line in lines]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: expected transcripts of custodes, a JailbreakBench artifact or a garak "
            f"report ({error!r})"
        ) from error


def _of_artifact(values: Any, path: Path) -> Iterator[Attempt]:
    rows = values.get("jailbreaks") if isinstance(values, dict) else None
    if not isinstance(rows, list):
        raise DataError(f"{path}: has no list `jailbreaks`; expected a JailbreakBench artifact")
    method = values.get("parameters", {}).get("method", path.stem)
    for row in rows:
        if not isinstance(row, dict) or "goal" not in row:
            raise DataError(f"{path}: got a row {str(row)[:80]!r}; expected one with a `goal`")
        if not row.get("prompt"):
            continue  # the method found nothing for this behavior
        yield Attempt(
            attack=str(method),
            question=str(row["goal"]),
            query=int(row.get("queries_to_jailbreak") or row.get("number_of_queries") or 1),
            turns=user(str(row["prompt"])),
            reply=str(row.get("response") or ""),
            success=bool(row.get("jailbroken")),
        )


def _of_garak(lines: Sequence[Mapping[str, Any]]) -> Iterator[Attempt]:
    for line in lines:
        if line["entry_type"] != "attempt" or line.get("status") != 2:
            continue  # 2: evaluated; the same attempt is written once before
        results = line.get("detector_results") or {}
        for number, output in enumerate(line.get("outputs") or []):
            marks = [scores[number] for scores in results.values() if number < len(scores)]
            worst = max((float(mark) for mark in marks if mark is not None), default=0.0)
            yield Attempt(
                attack=f"garak {line.get('probe_classname', '')}".strip(),
                question=str(line.get("goal") or ""),
                query=int(line.get("seq") or 0) + 1,
                turns=_turns(line["prompt"]),
                reply=_said(output),
                grade=worst,
                success=worst >= 0.5,  # garak's own default threshold
            )


def _turns(prompt: Any) -> Conversation:
    """Text, or (from garak 0.11 on) a conversation."""
    if isinstance(prompt, str):
        return user(prompt)
    turns = prompt.get("turns", [{"role": "user", "content": prompt}])
    return tuple(
        Message(cast(Any, turn["role"] if turn["role"] in _ROLES else "user"), _said(turn))
        for turn in turns
    )


def _said(value: Any) -> str:
    while isinstance(value, Mapping):
        value = value.get("content", value.get("text"))
    return str(value or "")


def write_artifact(
    path: Path, fights: Sequence[Fight], questions: QuestionSet, *, model: str
) -> None:
    """What a campaign found in JailbreakBench's format: one row a question, its best attempt."""
    attempts = [attempt for fight in fights for attempt in fight.attempts]
    queries = sum(sum(fight.queries.values()) for fight in fights)
    rows = []
    for index, question in enumerate(questions.questions):
        own = [attempt for attempt in attempts if attempt.question == question.id]
        best = max(own, key=lambda each: (each.success, each.grade or 0.0), default=None)
        rows.append(
            {
                "index": index,
                "goal": question.text,
                "behavior": question.id,
                "category": question.category or questions.id,
                "prompt": best.turns[-1].content if best and len(best.turns) == 1 else None,
                "response": best.reply if best else None,
                "number_of_queries": len(own),
                "queries_to_jailbreak": best.query if best and best.success else None,
                "jailbroken": bool(best and best.success),
            }
        )
    won = sum(bool(row["jailbroken"]) for row in rows)
    parameters = {
        "model": model,
        "method": "custodes",
        "number_of_total_jailbreaks": won,
        "total_number_of_jailbroken": won,
        "total_number_of_queries": queries,
        "attack_success_rate": won / len(rows),
    }
    write_atomically(path, json.dumps({"parameters": parameters, "jailbreaks": rows}, indent=2))
