"""From evidence to words: one description a method, by a model or without one.

max-act          examples                       vocab-proj   promoted and suppressed tokens
token-change     tokens whose logits move       ensemble-raw      all evidence, explained anew
                                                ensemble-concat   the three descriptions joined
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from custodes.errors import ConfigError
from custodes.methods.sae.evidence import Evidence, Example
from custodes.models import GenerateModel, Sampling
from custodes.models.tokens import well_formed
from custodes.types import Message

__all__ = ["METHODS", "Explainer", "ModelExplainer", "TokenExplainer", "describe"]

METHODS = ("max-act", "vocab-proj", "token-change", "ensemble-raw", "ensemble-concat")
_SINGLE = METHODS[:3]


class Explainer(Protocol):
    """Turns evidence of some kinds into one description; `name` goes into every report."""

    name: str

    def explain(self, evidence: Evidence, kinds: Sequence[str]) -> str:
        """A short description from the named kinds of evidence."""
        ...


def describe(evidence: Evidence, explainer: Explainer) -> dict[str, str]:
    """Every method's description of one feature."""
    found = {method: explainer.explain(evidence, [method]) for method in _SINGLE}
    found["ensemble-raw"] = explainer.explain(evidence, _SINGLE)
    found["ensemble-concat"] = "; ".join(found[method] for method in _SINGLE if found[method])
    return found


def _peaks(examples: Sequence[Example], most: int) -> list[str]:
    """The tokens with the greatest mean activation."""
    totals: dict[str, list[float]] = defaultdict(list)
    for example in examples:
        for token, value in zip(example.tokens, example.values, strict=True):
            if value > 0:
                totals[token].append(value)
    mean = {token: sum(values) / len(values) for token, values in totals.items()}
    return sorted(mean, key=lambda token: (-mean[token], token))[:most]


class TokenExplainer:
    """Judge-free: a description is the list of the strongest tokens. It cannot abstract."""

    name = "tokens, no model"

    def __init__(self, most: int = 10) -> None:
        self._most = most

    def explain(self, evidence: Evidence, kinds: Sequence[str]) -> str:
        """The strongest tokens of each kind, the same token once."""
        lists = {
            "max-act": _peaks(evidence.examples, self._most),
            "vocab-proj": list(evidence.promoted[: self._most]),
            "token-change": list(evidence.changed[: self._most]),
        }
        tokens = [token.strip() for kind in kinds for token in lists[kind]]
        return " ".join(dict.fromkeys(token for token in tokens if token))


_ASK = (
    "A feature of a language model is described by evidence of how it behaves. Say in one short "
    "phrase what the feature stands for. Answer with the phrase only.\n\n{material}"
)


def _material(evidence: Evidence, kinds: Sequence[str]) -> str:
    parts = []
    if "max-act" in kinds:
        greatest = max((max(one.values) for one in evidence.examples), default=1.0)
        shown = [
            " ".join(
                f"{token.strip() or repr(token)}({round(10 * max(value, 0) / greatest)})"
                if value > 0
                else token.strip()
                for token, value in zip(one.tokens, one.values, strict=True)
            )
            for one in evidence.examples
        ]
        parts.append(
            "Texts it is most active on, with its activation from 0 to 10 behind active tokens:\n"
            + "\n".join(f"- {one}" for one in shown)
        )
    if "vocab-proj" in kinds:
        parts.append("Tokens it promotes: " + ", ".join(map(repr, evidence.promoted)))
        parts.append("Tokens it suppresses: " + ", ".join(map(repr, evidence.suppressed)))
    if "token-change" in kinds:
        parts.append(
            "Tokens whose likelihood changes most when it is forced: "
            + ", ".join(map(repr, evidence.changed))
        )
    return "\n\n".join(parts)


class ModelExplainer:
    """Asks a model that generates."""

    def __init__(self, model: object, *, name: str, seed: int = 0) -> None:
        if not isinstance(model, GenerateModel):
            raise ConfigError(f"explainer: {name} does not generate; give another backend")
        self.name = name
        self._model = model
        self._sampling = Sampling(max_tokens=40, seed=seed)

    def explain(self, evidence: Evidence, kinds: Sequence[str]) -> str:
        """The first line of the model's reply."""
        question = _ASK.format(material=_material(evidence, kinds))
        replies = self._model.generate([(Message("user", question),)], self._sampling)
        # A reply cut in the middle of a character may hold half of it, which no file takes.
        return (well_formed(replies[0].text).strip().splitlines() or [""])[0].strip()
