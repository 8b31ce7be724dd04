"""Describe features from both ends, score the descriptions, draw the feature page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from custodes.config import Run, write_atomically
from custodes.errors import ConfigError, DataError
from custodes.measure.report import Cell
from custodes.methods.sae.coder import Coder
from custodes.methods.sae.config import DescribeConfig
from custodes.methods.sae.evidence import (
    Evidence,
    Example,
    max_activations,
    token_change,
    vocabulary_projection,
)
from custodes.methods.sae.explaining import METHODS, Explainer, ModelExplainer, TokenExplainer
from custodes.methods.sae.explaining import describe as describe_one
from custodes.methods.sae.features import Features, coder_features, read_features
from custodes.methods.sae.formats import load_coder
from custodes.methods.sae.kept import Kept
from custodes.methods.sae.language import LanguageModel, load_language_model, products
from custodes.methods.sae.page import FeatureView, feature_page, histogram
from custodes.methods.sae.report import describe_report
from custodes.methods.sae.scoring import (
    CachedEmbedder,
    Embedder,
    HashedEmbedder,
    MiniLMEmbedder,
    embedding_auroc,
    input_success,
    intruder_found,
    output_success,
    pick_texts,
)
from custodes.methods.sae.steering import (
    PROMPTS,
    Unsteered,
    Writing,
    find_clamps,
    steered_texts,
)
from custodes.methods.sae.store import ActivationStore
from custodes.methods.sae.training import check_width, only_hook
from custodes.models import MODELS
from custodes.models.arithmetic import resolved

__all__ = ["Described", "choose_latents", "describe_features", "find_intruders", "run_describe",
           "score"]  # fmt: skip

NULL = "null: another feature's (max-act)"
INTRUDER = "one of another feature's"
INTRUDER_NULL = "null: one of its own"
_VERSION = 2  # goes up when the same settings come to describe or steer otherwise
_TOGETHER = 8  # features that are steered in one batch
_EACH = 5  # fitting and neutral texts of the input score


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One feature: evidence, descriptions, clamps and the texts written under them."""

    evidence: Evidence
    descriptions: Mapping[str, str]
    clamps: tuple[float, ...]
    steered: tuple[str, ...]

    @property
    def signs(self) -> list[int]:
        """Of the clamp that each steered text was written under, in `steered_texts`' order:
        prompt by prompt, and of each prompt one text under each clamp."""
        each = len(self.steered) // max(len(self.clamps), 1)
        return [1 if clamp > 0 else -1 for _ in range(each) for clamp in self.clamps]

    def values(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Described:
        """From what `values` gave."""
        known = {**values["evidence"]}
        for name in ("promoted", "suppressed", "changed"):
            known[name] = tuple(known[name])
        known["examples"] = tuple(
            Example(tokens=tuple(one["tokens"]), values=tuple(one["values"]))
            for one in known["examples"]
        )
        return cls(
            evidence=Evidence(**known),
            descriptions=values["descriptions"],
            clamps=tuple(values["clamps"]),
            steered=tuple(values["steered"]),
        )


def choose_latents(
    language: LanguageModel, coder: Coder, hook: str, ids: Tensor, config: DescribeConfig
) -> list[int]:
    """The configured latents, or a draw of those active on the contexts."""
    if config.chosen:
        return list(config.chosen)
    everything = coder_features(coder, hook, range(coder.latents))
    seen = torch.zeros(coder.latents, dtype=torch.bool)
    for some in torch.split(ids, 8):
        seen |= (read_features(language, everything, some) > 0).flatten(0, 1).any(0)
    alive = seen.nonzero()[:, 0].numpy()
    if not len(alive):
        raise DataError("describe: no latent is active on these contexts; give more (contexts)")
    most = min(config.latents, len(alive))
    drawn = np.random.default_rng(config.seed).choice(alive, size=most, replace=False)
    return sorted(int(latent) for latent in drawn)


def describe_features(
    language: LanguageModel,
    features: Features,
    ids: Tensor,
    explainer: Explainer,
    config: DescribeConfig,
    *,
    keep: Kept | None = None,
    say: Callable[[str], object] | None = None,
) -> list[Described]:
    """Evidence from contexts ids [n, T], every method's description, and steered text.

    `keep`: what is described already is taken from there, and what is new put there.
    """
    values = read_features(language, features, ids)
    projections = vocabulary_projection(language, features.outward)
    prompts = ids[: config.prompts, :32]
    targets = [sign * target for target in config.kl_targets for sign in (1, -1)]
    writing = Writing(tokens=config.steer_tokens, seed=config.seed)
    peaks = values.flatten(0, 1).amax(0).tolist()
    count = len(features.names)
    found = [Described.of(one) for one in keep.load()] if keep is not None else []
    with products(config.precision, language.device):
        clean = Unsteered(language, features.hook, prompts)
        # Where text will be written, as in the released code: how far a clamp moves predictions
        # differs from one prompt to another.
        searched = writing.begun(language, features.hook)
        for start in range(len(found), count, _TOGETHER):
            indices = range(start, min(start + _TOGETHER, count))
            start_at = [peaks[index] for index in indices]
            clamps = find_clamps(language, features, indices, searched, targets, start_at)
            texts = steered_texts(language, features, indices, clamps, writing)
            for index, of_one, written in zip(indices, clamps.tolist(), texts, strict=True):
                promoted, suppressed = projections[index]
                evidence = Evidence(
                    name=features.names[index],
                    examples=max_activations(
                        language, values[..., index], ids, examples=config.examples
                    ),
                    promoted=promoted,
                    suppressed=suppressed,
                    changed=token_change(language, features, index, clean, amount=config.amount),
                )
                found.append(
                    Described(
                        evidence=evidence,
                        descriptions=describe_one(evidence, explainer),
                        clamps=tuple(of_one),
                        steered=tuple(written),
                    )
                )
            if keep is not None:
                keep.save([one.values() for one in found])
            if say is not None:
                say(f"{len(found)} of {count} described")
    return found


def score(
    described: Sequence[Described], values: Tensor, texts: Sequence[str], embed: Embedder,
    seed: int,
) -> dict[str, dict[str, list[float]]]:  # fmt: skip
    """method -> score -> one figure a feature, on held-out texts and their activations.

    `values` [texts, T, L]. The null scores each feature by the next one's description; a lone
    feature has none, and of fewer than four its output is not scored. Output is judged by `embed`,
    so its fit is the difference between clamps up and clamps down.
    """
    peaks = values.amax(1).numpy()
    found: dict[str, dict[str, list[float]]] = {
        method: {"input": [], "output": [], "detection": []}
        for method in (*METHODS, *([NULL] if len(described) > 1 else []))
    }
    rng = np.random.default_rng(seed)
    for index, one in enumerate(described):
        following = (index + 1) % len(described)
        others = [at for at in range(len(described)) if at not in (index, following)]
        # The null's description is true of the next feature's texts: they must not stand among
        # those that it is held against, or it would fall below chance.
        fair = len(others) > 1
        others = others if fair else [at for at in range(len(described)) if at != index]
        pair = rng.choice(others, size=2, replace=False).tolist() if len(others) > 1 else []
        sets = [described[at].steered for at in pair]
        asked = dict(one.descriptions)
        if len(described) > 1:
            asked[NULL] = described[following].descriptions["max-act"]
        for method, text in asked.items():
            fit, neutral = pick_texts(text, texts, embed, each=_EACH, seed=seed + index)
            into = found[method]
            fitting, rest = (peaks[places, index].tolist() for places in (fit, neutral))
            into["input"].append(float(input_success(fitting, rest)))
            if sets and (fair or method != NULL):
                into["output"].append(
                    float(output_success(text, one.steered, sets, embed, signs=one.signs))
                )
            active = [texts[at] for at in np.flatnonzero(peaks[:, index] > 0).tolist()]
            idle = [texts[at] for at in np.flatnonzero(peaks[:, index] <= 0).tolist()]
            into["detection"].append(embedding_auroc(text, active, idle, embed))
    return found


def find_intruders(
    described: Sequence[Described], embed: Embedder, seed: int
) -> dict[str, list[float]]:
    """Row of the report -> one figure a feature: does the judge find the intruder among examples?

    The examples but one, drawn at random, stand beside one of another feature's; under the null
    beside the one left out, which is as likely to be found as any. NaN for a feature of fewer than
    three examples; empty for a lone feature. No description is asked for.
    """
    found: dict[str, list[float]] = {INTRUDER: [], INTRUDER_NULL: [], "chance": []}
    rng = np.random.default_rng(seed)
    for index, one in enumerate(described):
        texts = [example.text for example in one.evidence.examples]
        strange = [example.text for at, other in enumerate(described) if at != index
                   for example in other.evidence.examples]  # fmt: skip
        if len(texts) < 3 or not strange:
            for values in found.values():
                values.append(float("nan"))
            continue
        own = texts.pop(int(rng.integers(len(texts))))
        intruder = strange[int(rng.integers(len(strange)))]
        found[INTRUDER].append(float(intruder_found(texts, intruder, embed)))
        found[INTRUDER_NULL].append(float(intruder_found(texts, own, embed)))
        found["chance"].append(1 / (len(texts) + 1))
    return found if len(described) > 1 else {}


def run_describe(
    store: ActivationStore,
    folder: Path,
    config: DescribeConfig,
    out: Path,
    *,
    language: LanguageModel | None = None,
    say: Callable[[str], object] | None = None,
) -> Path:
    """Describe and score latents of one autoencoder; features.html and a report in `out`.

    What was described before is in described.json and is not described again, after a kill or for
    another judge (`minilm`). Contexts are those of the store's last shards; half of them judge,
    those of the very last. What lies before the shards that training held out was trained on: how
    many those are, its `held_out` says, and is not known here. `language`: the model that the
    configuration names, where it is loaded already. `ConfigError` where the folder holds
    descriptions of other settings.
    """
    language = language or load_language_model(config.model, device=config.device)
    _check_model(store, language)
    hook, coder = only_hook(store, config.hook), load_coder(folder).to(language.device)
    check_width(store, hook, coder, str(folder))
    contexts = store.last_contexts(config.contexts)
    every = torch.from_numpy(store.tokens()[contexts].astype(np.int64))
    held, ids = every.tensor_split([len(every) // 2])
    windows = _windows(held, len(every))
    explainer = _explainer(config)
    embed = CachedEmbedder(
        MiniLMEmbedder(Path(config.minilm)) if config.minilm else HashedEmbedder()
    )
    latents = choose_latents(language, coder, hook, ids, config)
    features = coder_features(coder, hook, latents)
    keep = Kept(out / "described.json", _key(store, coder, [contexts.tolist(), latents], config))
    keep.load()  # a refusal comes before anything is written
    run = Run(out, config, seed=config.seed)
    described = describe_features(language, features, ids, explainer, config, keep=keep, say=say)
    texts = [str(language.tokenizer.decode(row)) for row in windows.tolist()]
    scores = score(described, read_features(language, features, windows), texts, embed, config.seed)
    intruders = find_intruders(described, embed, config.seed)
    for at, one in enumerate(described):
        of_one = {method: _one(found, at) for method, found in scores.items()}
        run.log(feature=one.evidence.name, descriptions=dict(one.descriptions), scores=of_one,
                intruders=_one(intruders, at))  # fmt: skip
    values = read_features(language, features, ids)
    page = feature_page(
        f"Features of {folder.name}", f"{language.name}, {hook}", _views(described, values)
    )
    write_atomically(out / "features.html", page)  # it may be served while it is replaced
    facts: dict[str, Cell] = {"model": language.name, "autoencoder": str(folder), "hook": hook,
        "explainer": explainer.name, "judge": embed.name, "features": len(described)}  # fmt: skip
    report = describe_report(scores, facts, intruders=intruders)
    return run.report(report.values(), report.html())


def _check_model(store: ActivationStore, language: LanguageModel) -> None:
    """`ConfigError` where the store was collected from another model, or from other weights."""
    facts = store.facts
    if facts.model != language.name:
        raise ConfigError(
            f"model: got {language.name!r}, but {store.folder} was collected from "
            f"{facts.model!r}; give that model"
        )
    if None not in (facts.content, language.content) and facts.content != language.content:
        raise ConfigError(
            f"model: {language.name} holds other files than when {store.folder} was collected: got "
            f"digest {language.content}, expected {facts.content}; give those, or collect anew"
        )


def _windows(held: Tensor, contexts: int) -> Tensor:
    """Held-out texts, short enough for an encoder to read whole.

    `DataError` where they are too few to score by, before anything is steered.
    """
    windows = torch.cat(torch.split(held, 32, dim=1)[: held.shape[1] // 32] or (held,))
    if len(windows) < 2 * _EACH:
        raise DataError(
            f"contexts: got {contexts} of {held.shape[1]} tokens; the half that judges makes "
            f"{len(windows)} texts, expected at least {2 * _EACH}; give more contexts, of a store "
            "that has as many"
        )
    return windows


def _one(found: Mapping[str, Sequence[float]], at: int) -> dict[str, float | None]:
    """One feature's figures; what is no number is null, as JSON has no NaN."""
    return {
        name: None if np.isnan(values[at]) else values[at]
        for name, values in found.items()
        if values
    }


def _key(
    store: ActivationStore, coder: Coder, chosen: Sequence[Sequence[int]], config: DescribeConfig
) -> str:
    """Tells a run from any other: its settings but for the judge's and the device's, and what it
    reads.

    `chosen`: contexts and latents.
    """
    settings = config.model_dump(mode="json", exclude={"minilm", "device"})
    facts = store.facts
    settings["precision"] = resolved(config.precision, coder.device)
    settings["version"] = _VERSION
    read = [facts.model, facts.source, facts.context, facts.precision, *chosen,
            coder.checksum(), *([facts.content] if facts.content else [])]  # fmt: skip
    return hashlib.sha256(json.dumps([settings, read]).encode()).hexdigest()


def _views(described: Sequence[Described], values: Tensor) -> list[FeatureView]:
    views = []
    for index, one in enumerate(described):
        of_one = values[..., index].double().flatten().numpy()
        views.append(
            FeatureView(
                evidence=one.evidence,
                descriptions=one.descriptions,
                density=float((of_one > 0).mean()),
                greatest=float(max(of_one.max(), 1e-9)),
                histogram=histogram(of_one),
                # The first prompt's, one under each clamp.
                steered=[
                    (clamp, PROMPTS[0] + text)
                    for clamp, text in zip(one.clamps, one.steered, strict=False)
                ],
            )
        )
    return views


def _explainer(config: DescribeConfig) -> Explainer:
    if config.explainer == "tokens":
        return TokenExplainer()
    backend = MODELS.load(config.explainer)
    settings = backend.Config.parse(config.explainer_settings, origin=f"model {config.explainer}")
    return ModelExplainer(backend(settings), name=config.explainer, seed=config.seed)
