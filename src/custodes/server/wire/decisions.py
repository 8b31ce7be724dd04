"""OpenAI's decisions: typed questions about an input, probabilities out.

The guard answers what its constitution asks: a predicate whose `name` or `instructions` is the
id, title or text of a restricted rule, or the word harmful; a choice among rules. Any other
question gets the format's own `refusal` answer: the guard does not guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from custodes.server.wire import fields
from custodes.server.wire.base import RequestError
from custodes.types import Conversation, Message, Role

__all__ = ["HARMFUL", "NONE", "Question", "answer", "ask", "response"]

HARMFUL = "harmful"
"""The predicate that is true of whatever breaks any rule."""
NONE = "none"
"""The choice that stands for no rule."""

_ROLES: dict[str, Role] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
_MOST_QUESTIONS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question; `choices` are those of a choice."""

    type: str
    name: str | None
    instructions: str
    choices: tuple[str | bool, ...] = ()


def ask(
    body: fields.Body, *, allow_unjudged: bool
) -> tuple[Conversation, tuple[Question, ...], str]:
    """The conversation, the questions and the model's name of a request."""
    raw = fields.items(body, "questions")
    if len(raw) > _MOST_QUESTIONS:
        raise RequestError(
            f"questions: got {len(raw)}, expected at most {_MOST_QUESTIONS}", param="questions"
        )
    questions = tuple(_question(each, f"questions[{place}]") for place, each in enumerate(raw))
    model = body.get("model")
    name = fields.string(body, "model") if model is not None else "custodes"
    return _input(body.get("input"), allow_unjudged), questions, name


def _question(value: Any, place: str) -> Question:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in ("predicate", "choice", "score"):
        raise RequestError(
            f"{place}.type: got {kind!r:.40}, expected predicate, choice or score", param=place
        )
    name = value.get("name")
    if not isinstance(name, str | None):
        raise RequestError(f"{place}.name: got {name!r:.40}, expected a string", param=place)
    options: tuple[Any, ...] = ()
    if kind == "choice":
        given = fields.items(value, "choices")
        options = tuple(each.get("value") if isinstance(each, dict) else None for each in given)
        if not all(isinstance(each, str | bool) for each in options):
            raise RequestError(f"{place}.choices: each needs a value, a string", param=place)
    return Question(
        type=kind, name=name, instructions=fields.string(value, "instructions"), choices=options
    )


def _input(value: Any, allow_unjudged: bool) -> Conversation:
    if isinstance(value, str):
        return (Message("user", value),)
    if not isinstance(value, list) or not value:
        raise RequestError(f"input: got {value!r:.40}, expected text or messages", param="input")
    return tuple(
        _message(turn, f"input[{place}]", allow_unjudged) for place, turn in enumerate(value)
    )


def _message(turn: Any, place: str, allow_unjudged: bool) -> Message:
    role = turn.get("role") if isinstance(turn, dict) else None
    if not isinstance(role, str) or role not in _ROLES:
        raise RequestError(
            f"{place}.role: got {role!r:.40}, expected one of {', '.join(_ROLES)}", param=place
        )
    content = turn.get("content")
    if isinstance(content, str):
        return Message(_ROLES[role], content)
    if not isinstance(content, list):
        raise RequestError(f"{place}.content: got {content!r:.40}, expected text", param=place)
    said = []
    for index, part in enumerate(content):
        text = part.get("text", part.get("refusal")) if isinstance(part, dict) else None
        if isinstance(text, str):
            said.append(text)
        else:
            kind = part.get("type") if isinstance(part, dict) else part
            fields.unjudged(f"{place}.content[{index}]", kind, allowed=allow_unjudged)
    return Message(_ROLES[role], "\n".join(said))


def answer(
    question: Question, *, harm: float, rules: Mapping[str, float], known: Mapping[str, str]
) -> fields.Body:
    """One answer.

    `harm`: probability that the input breaks any rule; `rules`: rule -> probability that it
    breaks this one; `known`: what a rule may be called (id, title, text), folded -> its id.
    """
    if question.type == "predicate":
        rule = _named(question, known)
        if rule is not None:
            probability = harm if rule == HARMFUL else rules[rule]
            return {"type": "predicate", "name": question.name, "probability": probability}
    if question.type == "choice":
        shares = [_share(choice, harm, rules, known) for choice in question.choices]
        if None not in shares:
            return _choice(question, [share for share in shares if share is not None])
    return {"type": "refusal", "name": question.name}


def _named(question: Question, known: Mapping[str, str]) -> str | None:
    for text in (question.name or "", question.instructions):
        folded = text.strip().casefold()
        if folded == HARMFUL:
            return HARMFUL
        if folded in known:
            return known[folded]
    return None


def _share(
    choice: str | bool, harm: float, rules: Mapping[str, float], known: Mapping[str, str]
) -> float | None:
    folded = choice.strip().casefold() if isinstance(choice, str) else ""
    if folded == NONE:
        return 1 - harm
    return rules[known[folded]] if folded in known else None


def _choice(question: Question, shares: Sequence[float]) -> fields.Body:
    total = sum(shares)
    even = 1 / len(shares)
    probabilities = [share / total if total > 0 else even for share in shares]
    best = max(range(len(shares)), key=probabilities.__getitem__)
    return {
        "type": "choice",
        "name": question.name,
        "choice": question.choices[best],
        "confidence": probabilities[best],
        "probabilities": [
            {"value": value, "probability": probability}
            for value, probability in zip(question.choices, probabilities, strict=True)
        ],
    }


def response(answers: Sequence[fields.Body], *, model: str, letters: int) -> fields.Body:
    """The whole response; tokens are an estimate of 4 letters each: the guard has none."""
    tokens = (letters + 3) // 4
    return {
        "model": model,
        "answers": list(answers),
        "usage": {
            "input_tokens": tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": tokens,
        },
    }
