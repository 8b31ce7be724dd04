"""OpenAI's moderations: texts in, categories and scores out, for clients that already ask so.

OpenAI's categories are filled from the rules that correspond to them; every rule of the guard
stands beside them under its own id. Images cannot be judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from custodes.server.wire import fields
from custodes.server.wire.base import RequestError

__all__ = ["CATEGORIES", "ask", "response", "result"]

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "harassment": ("harassment_bullying",),
    "harassment/threatening": ("threats_and_gore",),
    "hate": ("hate",),
    "hate/threatening": (),
    "illicit": (
        "drugs",
        "financial_crime",
        "document_forgery",
        "malware",
        "intrusion",
        "phishing",
        "theft_and_property",
        "fraud_scams",
        "human_trafficking",
    ),
    "illicit/violent": (
        "weapons_trafficking",
        "chemical_weapons",
        "biological_weapons",
        "nuclear_radiological",
        "explosives",
        "terrorism",
    ),
    "self-harm": ("dangerous_acts",),
    "self-harm/instructions": (),
    "self-harm/intent": (),
    "sexual": ("sexual_content", "sexual_crimes"),
    "sexual/minors": ("child_exploitation",),
    "violence": ("violent_crimes", "abuse_and_cruelty", "threats_and_gore"),
    "violence/graphic": (),
}
"""OpenAI's category -> the rules of the shipped constitution that correspond to it.

A category without a rule scores 0: the guard does not tell it apart.
"""

_MOST = 2048


def ask(body: fields.Body, *, allow_unjudged: bool) -> tuple[tuple[str, ...], str]:
    """The texts to judge, one result each, and the model's name.

    A list of parts is one text, as in OpenAI's interface.
    """
    model = fields.string(body, "model") if body.get("model") is not None else "custodes"
    value = body.get("input")
    if isinstance(value, str):
        return (value,), model
    given = fields.items(body, "input")
    if len(given) > _MOST:
        raise RequestError(f"input: got {len(given)}, expected at most {_MOST}", param="input")
    if all(isinstance(each, str) for each in given):
        return tuple(given), model
    return ("\n".join(_texts(given, allow_unjudged)),), model


def _texts(parts: Sequence[Any], allow_unjudged: bool) -> list[str]:
    found = []
    for place, part in enumerate(parts):
        text = part.get("text") if isinstance(part, dict) else None
        if isinstance(text, str):
            found.append(text)
        else:
            kind = part.get("type") if isinstance(part, dict) else part
            fields.unjudged(f"input[{place}]", kind, allowed=allow_unjudged)
    return found


def result(*, flagged: bool, rule: str | None, rules: Mapping[str, float]) -> fields.Body:
    """One result: `rule` is the one that the verdict names, `rules` every rule's probability."""
    scores: dict[str, float] = {}
    for category, members in CATEGORIES.items():
        scores[category] = max((rules.get(member, 0.0) for member in members), default=0.0)
    raised = {category for category, members in CATEGORIES.items() if rule in members}
    raised |= {rule} if rule is not None else set()
    scores.update(rules)
    return {
        "flagged": flagged,
        "categories": {name: flagged and name in raised for name in scores},
        "category_scores": scores,
        "category_applied_input_types": {name: ["text"] for name in scores},
    }


def response(results: Sequence[fields.Body], *, id_: str, model: str) -> fields.Body:
    """The whole response."""
    return {"id": f"modr-{id_}", "model": model, "results": list(results)}
