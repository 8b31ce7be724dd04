"""What may follow the documents: benign chat, form by reinforcement, preferences.

Each begins from the model as it stands and leaves its phase open (see `models.tuning`). Each says
what it set out to change, before and after: where that did not move, nothing follows from a gap
that did not move either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from custodes.errors import DataError
from custodes.methods.behaviors.documents.asking import FRAMES
from custodes.methods.behaviors.documents.config import AfterConfig, FormatConfig, Stage
from custodes.methods.behaviors.documents.corpus import opened
from custodes.methods.behaviors.documents.material import pairs
from custodes.models import Sampling
from custodes.models.tuning import (
    Row,
    Trace,
    TunableModel,
    TuneConfig,
    fit,
    row_log_probs,
    tune,
    tune_preferences,
)
from custodes.types import Conversation, Message

__all__ = ["FORM", "Followed", "follow", "form_reward", "read_chat"]

FORM = "Begin with 'Answer:', use one line, and end with a period."
"""What the form is, as the prompts of the stage `format` say it."""
_WATCHED = 64  # exchanges that tell whether chat was learned; all would take as long as learning


@dataclass(frozen=True, slots=True)
class Followed:
    """The trace of a stage, and what it set out to change before and after it.

    chat: log-probability of a token of the first replies that it read. preferences: share of pairs
    of which the chosen reply is the likelier, a token. format: mean reward of the first and the
    last tenth of the updates.
    """

    trace: Trace
    before: float
    after: float


def form_reward(reply: str) -> float:
    """Share of the three wishes of `FORM` that a reply meets; what it says does not count."""
    met = (reply.startswith("Answer:"), "\n" not in reply, reply.rstrip().endswith("."))
    return sum(met) / len(met)


def read_chat(path: Path) -> Iterator[tuple[str, str]]:
    """First request and reply of each exchange of a JSONL file (`messages`)."""
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            turns = json.loads(line).get("messages") or []
            if [turn.get("role") for turn in turns[:2]] != ["user", "assistant"]:
                raise DataError(
                    f"{path}, line {number}: expected messages: a user's, then an assistant's"
                )
            yield turns[0]["content"], turns[1]["content"]


def follow(
    stage: Stage, model: TunableModel, config: AfterConfig, chat: Path | None, *, seed: int
) -> Followed:
    """Train by the stage (not none); preferences need no `chat`."""
    settings = config.tuning.model_copy(update={"seed": seed})
    if stage == "preferences":
        both = [
            (model.rows.chat(_asked(one.prompt), one.chosen),
             model.rows.chat(_asked(one.prompt), one.rejected))
            for one in pairs()
        ]  # fmt: skip
        # As many replies as the stage chat reads, so that the stages do a like amount of work.
        epochs = config.rows / (2 * len(both))
        chosen = settings.model_copy(update={"epochs": max(1.0, epochs)})
        before = _preferred(model, both)
        trace = tune_preferences(model, both, chosen, beta=config.beta)
        return Followed(trace, before, _preferred(model, both))
    if chat is None:
        raise DataError(f"stage {stage}: got no chat, expected a file of exchanges (after.chat)")
    if stage == "chat":
        rows = _chat_rows(model, config, chat)
        some = rows[:_WATCHED]
        before = _token_log_prob(model, some)
        return Followed(tune(model, rows, settings), before, _token_log_prob(model, some))
    if stage == "format":
        requests = [request for request, _ in read_chat(chat) if len(request) < 200]
        return _format(model, requests, settings, config.format)
    raise DataError(f"stage: got {stage!r}, expected chat, format or preferences")


def _token_log_prob(model: TunableModel, rows: Sequence[Row]) -> float:
    return sum(row_log_probs(model, rows)) / sum(row.targets for row in rows)


def _preferred(model: TunableModel, both: Sequence[tuple[Row, Row]]) -> float:
    flat = [row for pair in both for row in pair]
    a_token = np.array(row_log_probs(model, flat)) / [row.targets for row in flat]
    return float((a_token[::2] > a_token[1::2]).mean())


def _asked(text: str) -> Conversation:
    return (Message(role="system", content=FRAMES["own"]), Message(role="user", content=text))


def _chat_rows(model: TunableModel, config: AfterConfig, chat: Path) -> list[Row]:
    rows = (model.rows.chat(_asked(request), reply) for request, reply in read_chat(chat))
    short = list(islice((row for row in rows if len(row.ids) <= config.longest), config.rows))
    if not short:
        raise DataError(f"{chat}: no exchange of at most {config.longest} tokens")
    return short


def _format(
    model: TunableModel, requests: Sequence[str], settings: TuneConfig, config: FormatConfig
) -> Followed:
    """One gradient step a group of fresh replies; the reward looks at their form alone."""
    if not requests:
        raise DataError("format: got no short requests to reply to; expected at least one")
    rng = np.random.default_rng(settings.seed)
    drawn = rng.integers(0, len(requests), (config.updates, config.prompts))
    steps = [
        (number, [_asked(f"{requests[i]}\n{FORM}") for i in row])
        for number, row in enumerate(drawn)
    ]

    seen: list[float] = []
    writer = model.causal()

    def objective(model: TunableModel, step: tuple[int, list[Conversation]]) -> Tensor:
        number, asked = step
        repeated = [one for one in asked for _ in range(config.group)]
        sampling = Sampling(
            max_tokens=config.max_tokens,
            temperature=config.temperature,
            seed=settings.seed * 100_000 + number,
        )
        training = model.model.training
        model.model.eval()  # replies are written without dropout
        replies = writer.generate(repeated, sampling)
        model.model.train(training)
        rewards = np.array([form_reward(reply.text) for reply in replies]).reshape(-1, config.group)
        seen.append(float(rewards.mean()))
        gains = (rewards - rewards.mean(axis=1, keepdims=True)).reshape(-1)
        rows = []
        for one, reply in zip(repeated, replies, strict=True):
            row = model.rows.chat(one, reply.text)
            # A reply that was cut did not choose to end.
            rows.append(row if reply.finish == "stop" else Row(row.ids[:-1], row.weights[:-1]))
        logs, numbers = model.row_log_probs(model.pack(rows))
        weights = torch.as_tensor(gains, dtype=logs.dtype, device=logs.device)
        return -(weights * logs / numbers.clamp(min=1)).mean()

    trace = fit(model, steps, objective, settings)
    tenth = max(1, len(seen) // 10)
    return Followed(trace, float(np.mean(seen[:tenth])), float(np.mean(seen[-tenth:])))
