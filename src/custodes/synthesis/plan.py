"""From a constitution to tasks: rule x subtopic x style x language x side, balanced.

Rules are planned apart from each other. A task's id and seed come from its rule's hash, its index
and the seed of the run, so changing a rule changes that rule's tasks only, and adding one moves no
other's. What must not tell the label (side, language, style) is dealt out in *cells*, the same for
every rule. In a share of the cells (`contrast`) frame and transforms, too, are drawn once for all
rules of one `subject`, so that a restricted rule's rows and those of its permitted twins differ in
their intent only; elsewhere they are drawn for each row, for every rule with the same chances. A
polarity with fewer rules gets more rows a rule: its lists grow at the end, and what stood there
stays.

Knows nothing of texts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from random import Random
from typing import TypeVar

from custodes.constitution import Constitution, Polarity, Rule, rule_hash
from custodes.errors import ConfigError
from custodes.synthesis.config import SynthesisConfig
from custodes.synthesis.task import Act, Target, Task, digest, stable_seed
from custodes.synthesis.transforms import TRANSFORMS, Family, Transform, in_order
from custodes.synthesis.writers import WRITERS, Writer
from custodes.types import Mode

__all__ = ["plan", "unwritten"]

_PLAIN = "plain"
_TWO_TRANSFORMS = 0.3

_LETTERS: set[Family] = {"noise", "encoding"}

_Value = TypeVar("_Value")
_Cell = tuple[str, str]
"""Language and style."""

_ACTS: Mapping[Polarity, tuple[tuple[Act, float], ...]] = {
    Polarity.RESTRICTED: (("comply", 0.55), ("refuse", 0.3), ("refuse_then_comply", 0.15)),
    Polarity.PERMITTED: (("comply", 0.75), ("refuse", 0.15), ("refuse_then_comply", 0.1)),
}
"""Refusals of permitted requests and compliance after a refusal occur on both sides, so that
neither a refusal nor its absence tells the label."""


def plan(constitution: Constitution, config: SynthesisConfig) -> list[Task]:
    """All tasks, in the order of the rules; `ConfigError` for what cannot be planned."""
    _check(constitution, config)
    chains = _Chains(config)
    cells = {rule.id: _cells(constitution, rule, config) for rule in constitution.rules}
    counts = _counts(constitution, config, [rule for rule in constitution.rules if cells[rule.id]])
    return [
        task
        for rule in constitution.rules
        if cells[rule.id]
        for task in _tasks(
            rule,
            hashed=rule_hash(constitution, rule.id),
            cells=cells[rule.id],
            rows=max(counts[rule.polarity], config.rows_of.get(rule.id, 0)),
            chains=chains,
        )
    ]


def unwritten(constitution: Constitution, config: SynthesisConfig) -> tuple[str, ...]:
    """The rules that the writer cannot speak for with these settings: no task is planned."""
    return tuple(r.id for r in constitution.rules if not _cells(constitution, r, config))


def _check(constitution: Constitution, config: SynthesisConfig) -> None:
    known = {rule.id for rule in constitution.rules}
    for setting in ("held_out_rules", "rows_of"):
        for rule in getattr(config, setting):
            if rule not in known:
                raise ConfigError(
                    f"{setting}: got {rule!r}, expected rules of the constitution "
                    f"{constitution.id!r}: {', '.join(sorted(known))}"
                )
    styles = {style for frames in constitution.frames.values() for style in frames.requests}
    for style in config.styles:
        if style not in styles | {_PLAIN}:
            raise ConfigError(
                f"styles: got {style!r}, expected some of {', '.join(sorted(styles | {_PLAIN}))}"
            )
    if all(not _cells(constitution, rule, config) for rule in constitution.rules):
        raise ConfigError(
            f"nothing to write: the writer {config.writer!r} can speak for no rule of "
            f"{constitution.id!r} in the languages and sides asked for; "
            "give the rules a grammar, or use the model writer"
        )


def _cells(
    constitution: Constitution, rule: Rule, config: SynthesisConfig
) -> dict[Mode, list[_Cell]]:
    """Side -> the languages and styles that the writer can speak for this rule in."""
    writer: type[Writer] = WRITERS.load(config.writer)
    languages = config.languages or constitution.languages
    cells: dict[Mode, list[_Cell]] = {}
    for side in Mode:
        if side not in rule.applies_to or not config.sides.get(side):
            continue
        for lang in writer.languages(constitution, rule, side):
            if languages and lang not in languages:
                continue
            frames = constitution.frames.get(lang)
            styles = [style for style, own in frames.requests.items() if own] if frames else []
            wanted = [each for each in styles or [_PLAIN] if each in (config.styles or (each,))]
            cells.setdefault(side, []).extend(product((lang,), wanted))
    return {side: found for side, found in cells.items() if found}


def _counts(
    constitution: Constitution, config: SynthesisConfig, rules: Sequence[Rule]
) -> dict[Polarity, int]:
    """Tasks a rule, by polarity, such that both polarities have as many, up to rounding."""
    found = Counter(rule.polarity for rule in rules)
    most = max(found.values())
    return {
        polarity: -(-config.rows_per_rule * most // found[polarity]) if found[polarity] else 0
        for polarity in Polarity
    }


def _tasks(
    rule: Rule,
    *,
    hashed: str,
    cells: Mapping[Mode, Sequence[_Cell]],
    rows: int,
    chains: _Chains,
) -> Iterator[Task]:
    config = chains.config
    held_out = rule.id in config.held_out_rules
    walks = {side: _rounds(cells[side], config.seed, side.value) for side in cells}
    topics = _rounds(rule.subtopics, hashed)
    for index, side in zip(range(rows), _sides(cells, config), strict=False):
        (lang, style), turn = next(walks[side])
        shared = stable_seed("cell", rule.subject, config.seed, side.value, lang, style, turn)
        seed = stable_seed("task", hashed, index, config.seed)
        rng = Random(shared)
        paired = rng.random() < config.contrast and not held_out
        target, transforms, unseen = chains.draw(side, rng if paired else Random(seed))
        yield Task(
            id=f"syn-{digest('task', hashed, index, config.seed)[:20]}",
            rule=rule.id,
            index=index,
            subtopic=next(topics)[0] if rule.subtopics else None,
            style=style,
            lang=lang,
            side=side,
            act=None if side is Mode.INPUT else _act(rule.polarity, Random(seed)),
            seed=seed,
            shared=shared,
            pair=f"pair-{shared:012x}" if paired else None,
            transforms=transforms,
            target=target,
            held_out=held_out or unseen,
        )


def _sides(cells: Mapping[Mode, Sequence[_Cell]], config: SynthesisConfig) -> Iterator[Mode]:
    """Sides without end; after any number of them each has had its share, up to one."""
    total = sum(config.sides[side] for side in cells)
    had = dict.fromkeys(cells, 0)
    index = 0
    while True:
        index += 1
        side = max(cells, key=lambda each: config.sides[each] / total * index - had[each])
        had[side] += 1
        yield side


def _rounds(values: Sequence[_Value], *salt: object) -> Iterator[tuple[_Value, int]]:
    """The values without end, each once a round, each round in another order; with the round."""
    turn = 0
    while True:
        order = list(values)
        Random(stable_seed("round", *salt, turn)).shuffle(order)
        yield from ((value, turn) for value in order)
        turn += 1


def _act(polarity: Polarity, rng: Random) -> Act:
    acts = _ACTS[polarity]
    return rng.choices([act for act, _ in acts], [weight for _, weight in acts])[0]


def _excluded(families: set[Family]) -> set[Family]:
    """One of a family at most; noise in a coded text could not be decoded."""
    return families | _LETTERS if families & _LETTERS else families


class _Chains:
    """Which transforms a cell's rows get."""

    def __init__(self, config: SynthesisConfig) -> None:
        self.config = config
        names = config.transforms or tuple(
            name for name in TRANSFORMS.names() if not TRANSFORMS.load(name).bind
        )
        unseen = set(config.held_out_transforms)
        self._seen = [self._load(name) for name in sorted(set(names) - unseen)]
        self._unseen = [self._load(name) for name in sorted(unseen)]

    def _load(self, name: str) -> Transform:
        transform: Transform = TRANSFORMS.load(name)
        if transform.bind and self.config.model is None:
            raise ConfigError(
                f"transforms: {name!r} needs a model; set `model` in the synthesis settings, "
                "or leave the transform out"
            )
        return transform

    def draw(self, side: Mode, rng: Random) -> tuple[Target, tuple[str, ...], bool]:
        """The turn to vary, the transforms in order, and whether one of them is held out."""
        both = side is Mode.EXCHANGE
        target: Target = "request" if side is Mode.INPUT else "reply"
        if both and rng.random() < 0.5:
            target = "request"
        unseen = [each for each in self._unseen if target in each.sides]
        chosen: list[Transform] = []
        if rng.random() < self.config.held_out_share and unseen:
            chosen = [rng.choice(unseen)]
        if chosen or rng.random() < self.config.varied:
            wanted = 1 + (rng.random() < _TWO_TRANSFORMS)
            while len(chosen) < wanted:
                taken = _excluded({each.family for each in chosen})
                fitting = [
                    each for each in self._seen if target in each.sides and each.family not in taken
                ]
                if not fitting:
                    break
                chosen.append(rng.choice(fitting))
        held_out = any(each in unseen for each in chosen)
        return target, tuple(each.name for each in in_order(chosen)), held_out
