"""Every attempt of a campaign, to read and to search: JSON lines, and one page.

The page is self-contained; its one script filters what is shown, and every text is escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment

from custodes.config import write_atomically
from custodes.errors import DataError
from custodes.redteam.judges.people import case_id
from custodes.redteam.records import Attempt, Fight

__all__ = ["read_transcripts", "search", "write_for_people", "write_transcripts"]

_MOST_ON_PAGE = 4000


def write_transcripts(folder: Path, fights: Sequence[Fight], *, title: str) -> None:
    """transcripts.jsonl with all attempts, transcripts.html with up to 4,000, successes first."""
    attempts = [attempt for fight in fights for attempt in fight.attempts]
    lines = "".join(json.dumps(attempt.to_values()) + "\n" for attempt in attempts)
    write_atomically(folder / "transcripts.jsonl", lines)
    shown = sorted(attempts, key=lambda attempt: not attempt.success)[:_MOST_ON_PAGE]
    page = _template().render(title=title, attempts=shown, total=len(attempts))
    write_atomically(folder / "transcripts.html", page.encode("utf-8", "replace"))


def write_for_people(folder: Path, fights: Sequence[Fight], *, most: int = 200) -> None:
    """for_people.jsonl: replies for people to judge, as a table of exchanges without labels.

    Half of them successes, half of them not, so that both kinds of error can be seen.
    """
    attempts = [a for fight in fights for a in fight.attempts if a.reply.strip()]
    won = [a for a in attempts if a.success][: most // 2]
    lost = [a for a in attempts if not a.success and a.stopped is None][: most - len(won)]
    rows: dict[str, dict[str, object]] = {}
    for attempt in [*won, *lost]:
        identity = case_id(attempt.question, attempt.turns, attempt.reply)
        turns = [{"role": turn.role, "content": turn.content} for turn in attempt.turns]
        rows[identity] = {
            "id": identity,
            "source": "custodes attack",
            "licence": "own",
            "kind": "moderation",
            "messages": [*turns, {"role": "assistant", "content": attempt.reply}],
            "label": None,
            "category": attempt.question,
            "meta": {"attack": attempt.attack, "grade": attempt.grade},
        }
    lines = "".join(json.dumps(row) + "\n" for row in rows.values())
    write_atomically(folder / "for_people.jsonl", lines)


def read_transcripts(folder: Path) -> Iterator[Attempt]:
    """The attempts of a campaign's folder; `DataError` where there are none."""
    path = folder / "transcripts.jsonl"
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield Attempt.from_values(json.loads(line))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected the folder of a campaign") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a table of attempts: {error}") from error


def search(
    attempts: Iterable[Attempt],
    *,
    text: str = "",
    attack: str = "",
    question: str = "",
    success: bool | None = None,
) -> Iterator[Attempt]:
    """The attempts that fit: `text` is a regular expression, searched in prompt and reply."""
    try:
        pattern = re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise DataError(f"search: {text!r} is no regular expression: {error}") from error
    for attempt in attempts:
        fits = attack in ("", attempt.attack) and question in ("", attempt.question)
        if not fits or (success is not None and attempt.success is not success):
            continue
        said = "\n".join([*(turn.content for turn in attempt.turns), attempt.reply])
        if pattern.search(said):
            yield attempt


@cache
def _template() -> Template:
    environment = SandboxedEnvironment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("custodes.redteam").joinpath("pages/transcripts.html").read_text("utf-8")
    return environment.from_string(source)
