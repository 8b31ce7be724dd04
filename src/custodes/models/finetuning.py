"""Fine-tuning behind an API: rows go up, a job runs at the server, a model's name comes back.

The wire format is OpenAI's (/files, /fine_tuning/jobs), which other servers speak too. A job costs
money, so what was begun is written down before it is waited for: the same rows with the same
settings are never tuned twice, whatever stops the process. One process at a time writes a folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from custodes.config import write_atomically
from custodes.errors import DataError, ModelError
from custodes.models.openai import OpenAIModel
from custodes.models.remote import Remote, Timing

__all__ = ["FineTuningApi"]

_FAILED = ("failed", "cancelled")


class FineTuningApi:
    """Tunes `model` on rows at the server; see `tune`."""

    class Config(OpenAIModel.Config):
        """What is tuned, where, and how."""

        hyperparameters: dict[str, Any] = Field(default_factory=dict)
        """Of the job, as the server calls them, such as {n_epochs: 1}; none: its own choice."""
        suffix: str = "custodes"
        """Part of the tuned model's name."""
        poll_seconds: float = Field(default=20.0, gt=0)
        """Between two looks at a job."""
        longest_hours: float = Field(default=24.0, gt=0)
        """That a job is waited for."""

    def __init__(self, config: Config, folder: Path, *, timing: Timing | None = None) -> None:
        """`folder` keeps the jobs that were begun."""
        self._config = config
        self._folder = folder
        self._timing = timing or Timing()
        self._remote = Remote(
            config,
            authorize=lambda key: {"authorization": f"Bearer {key}"},
            timing=self._timing,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._remote.close()

    def tune(self, rows: Sequence[tuple[str, str]], *, seed: int) -> str:
        """The name of `model` tuned on rows of prompt and reply; waits for the job.

        `DataError` without rows. `ModelError` where the server refuses, the job fails or takes
        longer than `longest_hours`; a failed job is forgotten, so that the next call begins anew.
        """
        if not rows:
            raise DataError("fine-tuning needs rows; got none")
        content = "".join(map(_line, rows)).encode()
        place = self._folder / f"{self._hash(content, seed)}.json"
        if not place.exists():
            write_atomically(place, json.dumps({"job": self._begin(content, seed)}) + "\n")
        kept = json.loads(place.read_text(encoding="utf-8"))
        if "tuned" not in kept:
            kept["tuned"] = self._wait(kept["job"], place)
            write_atomically(place, json.dumps(kept) + "\n")
        return str(kept["tuned"])

    def _begin(self, content: bytes, seed: int) -> str:
        fields = {"purpose": "fine-tune"}
        file = self._remote.upload("/files", fields, "rows.jsonl", content).need(str, "id")
        job = self._remote.post(
            "/fine_tuning/jobs",
            {
                "model": self._config.model,
                "training_file": file,
                "seed": seed,
                "suffix": self._config.suffix,
                "hyperparameters": self._config.hyperparameters or None,
            },
        )
        return job.need(str, "id")

    def _wait(self, job: str, place: Path) -> str:
        started = self._timing.clock()
        while True:
            answer = self._remote.get(f"/fine_tuning/jobs/{job}")
            status = answer.need(str, "status")
            if status == "succeeded":
                return answer.need(str, "fine_tuned_model")
            if status in _FAILED:
                place.unlink(missing_ok=True)
                why = answer.get(str, "error", "message") or "the server says no reason"
                raise ModelError(f"fine-tuning job {job} {status}: {why}")
            if self._timing.clock() - started > self._config.longest_hours * 3600:
                raise ModelError(
                    f"fine-tuning job {job} is {status} after {self._config.longest_hours:g} "
                    "hours; run again to go on waiting, or raise longest_hours"
                )
            self._timing.sleep(self._config.poll_seconds)

    def _hash(self, content: bytes, seed: int) -> str:
        told = self._config.model_dump(include={"model", "base_url", "hyperparameters", "suffix"})
        head = json.dumps({**told, "seed": seed}, sort_keys=True).encode()
        return hashlib.sha256(head + b"\n" + content).hexdigest()[:24]


def _line(row: tuple[str, str]) -> str:
    prompt, reply = row
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]
    return json.dumps({"messages": turns}) + "\n"
