"""Collect activations: texts -> contexts of tokens -> forward passes -> shuffled shards.

Resumable: a shard that is there is not computed again. What is done with them is not known here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from custodes.data.atomic import replacing
from custodes.errors import ConfigError, DataError
from custodes.methods.sae.compiling import compiled_blocks
from custodes.methods.sae.config import CollectConfig
from custodes.methods.sae.hooks import read_hooks
from custodes.methods.sae.language import LanguageModel, products
from custodes.methods.sae.store import (
    ActivationStore,
    StoreFacts,
    read_facts,
    shard_done,
    write_facts,
    write_shard,
)
from custodes.models.arithmetic import resolved

__all__ = ["collect", "pack_contexts"]

_PIECE = 2**20  # characters of a text that are read into tokens at once
_SHARDS = 16  # about, at least: the last one is held out, and should be a small part of the store


def pack_contexts(
    language: LanguageModel, texts: Iterable[str], *, length: int, most: int
) -> NDArray[np.int32]:
    """Token ids [contexts, length]: texts laid end to end, an end-of-text token between them.

    At most `most` tokens are taken, and what does not fill a context is left out. `DataError`
    where there is not one whole context.
    """
    rows = list(_contexts(language, texts, length, max(most // length, 1)))
    if not rows:
        raise DataError(f"texts: fewer than {length} tokens in all; give more, or set context")
    return np.stack(rows)


def _contexts(
    language: LanguageModel, texts: Iterable[str], length: int, count: int
) -> Iterator[NDArray[np.int32]]:
    held = np.zeros(0, dtype=np.int32)
    for ids in _tokens(language, texts):
        held = np.concatenate([held, ids])
        for start in range(0, len(held) - length + 1, length):
            yield held[start : start + length]
            count -= 1
            if not count:
                return
        held = held[len(held) // length * length :]


def _tokens(language: LanguageModel, texts: Iterable[str]) -> Iterator[NDArray[np.int32]]:
    """Ids of one text after another, each with the token that ends it; a long one in pieces."""
    for text in texts:
        start = 0
        while len(text) - start > _PIECE:
            # Before white space, to which the next word's first token belongs.
            cut = max(text.rfind(sign, start + 1, start + _PIECE) for sign in (" ", "\n"))
            cut = cut if cut > start else start + _PIECE
            yield np.array(language.encode([text[start:cut]])[0], dtype=np.int32)
            start = cut
        yield np.array([*language.encode([text[start:]])[0], language.end], dtype=np.int32)


def collect(
    language: LanguageModel,
    texts: Iterable[str],
    config: CollectConfig,
    folder: Path,
    *,
    say: Callable[[str], object] | None = None,
) -> ActivationStore:
    """Fill the folder with activations at the configured hooks; goes on where it was stopped.

    `ConfigError` where the folder holds a store of other settings, texts or model. An unfinished
    one of a version that did not keep `batch`, or of a model's folder `content`, cannot go on, as
    it might mix two.
    """
    tokens = pack_contexts(language, texts, length=config.context, most=config.tokens)
    if say is not None and len(tokens) < config.tokens // config.context:
        say(f"the texts ended after {tokens.size:,} of {config.tokens:,} tokens")
    order = np.random.default_rng(config.seed).permutation(len(tokens))
    sizes = _contexts_of_shards(folder, len(order), config)
    deals = np.split(order, np.cumsum(sizes)[:-1])
    facts = _same(folder, _facts(language, tokens, config, deals))
    with replacing(folder / "tokens.npy") as temporary, temporary.open("wb") as file:
        np.save(file, tokens)
    write_facts(folder, facts)
    with compiled_blocks(language.model, config.hooks) if config.compile else nullcontext():
        for number, contexts in enumerate(deals):
            if not shard_done(folder, facts.widths, number):
                places, values = _read(language, tokens, contexts, config)
                mixed = np.random.default_rng((config.seed, number)).permutation(len(places))
                write_shard(folder, number, places[mixed], {k: v[mixed] for k, v in values.items()})
            if say is not None:
                say(f"shard {number + 1} of {len(deals)}")
    return ActivationStore(folder)


def _contexts_of_shards(folder: Path, contexts: int, config: CollectConfig) -> list[int]:
    """How many each gets: as in the store that is there, else by the settings.

    By those whole batches, where that leaves enough shards: where blocks are compiled, a short
    batch costs as much as a full one.
    """
    rows = config.context - config.skip
    if (folder / "store.json").exists():
        there = read_facts(folder).rows
        if sum(there) == contexts * rows and not any(count % rows for count in there):
            return [count // rows for count in there]
    most = max(config.shard_rows // rows, 1)
    size = min(most, -(-contexts // _SHARDS))
    whole = max(size // config.batch, 1) * config.batch
    if whole <= most and contexts >= _SHARDS // 2 * whole:
        size = whole
    return [min(size, contexts - start) for start in range(0, contexts, size)]


def _facts(
    language: LanguageModel,
    tokens: NDArray[np.int32],
    config: CollectConfig,
    deals: list[NDArray[np.int64]],
) -> StoreFacts:
    longest = getattr(language.model.config.get_text_config(), "max_position_embeddings", None)
    if longest is not None and config.context > longest:
        raise ConfigError(
            f"context: got {config.context}; {language.name} has {longest} positions: give at most "
            "so many"
        )
    probe = torch.from_numpy(tokens[:1, :2].astype(np.int64)).to(language.device)
    found = read_hooks(language.model, config.hooks, input_ids=probe)
    return StoreFacts(
        model=language.name,
        widths={hook: found[hook].shape[-1] for hook in config.hooks},
        context=config.context,
        rows=tuple(len(deal) * (config.context - config.skip) for deal in deals),
        dtype=config.dtype,
        seed=config.seed,
        source=hashlib.sha256(tokens.tobytes()).hexdigest(),
        precision=resolved(config.precision, language.device),
        batch=config.batch,
        compiled=config.compile,
        content=language.content,
    )


def _same(folder: Path, facts: StoreFacts) -> StoreFacts:
    """The facts of what the folder will hold: those of the store that is there, if it is the same.

    A finished one that does not say its batch, or what its model's folder held, stays as it is: no
    shard of another will join it.
    """
    if not (folder / "store.json").exists():
        return facts
    before = read_facts(folder)
    done = [shard_done(folder, before.widths, one) for one in range(len(before.rows))]
    if not any(done):
        return facts  # stopped before its first shard: there is nothing to mix with
    if before.batch is None and all(done):
        facts = replace(facts, batch=None)
    if before.content is None and all(done):
        facts = replace(facts, content=None)
    if before.model == facts.model and before.content != facts.content:
        raise ConfigError(
            f"{folder}: the model {facts.model} holds other files than when this store was begun: "
            f"got digest {facts.content}, expected {before.content or 'one that was not kept'}; "
            "give those, or another folder"
        )
    for name in StoreFacts.__dataclass_fields__:
        if getattr(before, name) != getattr(facts, name):
            raise ConfigError(
                f"{folder}: holds a store with {name} = {getattr(before, name)!r}, got "
                f"{getattr(facts, name)!r}; give the same settings and texts, or another folder"
            )
    return facts


def _read(
    language: LanguageModel,
    tokens: NDArray[np.int32],
    contexts: NDArray[np.int64],
    config: CollectConfig,
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.floating]]]:
    """Places and activations of some contexts, in order; the first `skip` positions left out."""
    kept = np.arange(config.skip, config.context)
    places = (contexts[:, None] * config.context + kept).reshape(-1)
    parts: dict[str, list[NDArray[np.floating]]] = {hook: [] for hook in config.hooks}
    for start in range(0, len(contexts), config.batch):
        some = contexts[start : start + config.batch]
        # Compiled code is of one shape, so a short batch is filled up.
        padded = np.resize(some, config.batch) if config.compile else some
        ids = torch.from_numpy(tokens[padded].astype(np.int64)).to(language.device)
        with products(config.precision, ids.device):
            found = read_hooks(language.model, config.hooks, input_ids=ids, use_cache=False)
        for hook, values in found.items():
            rows = values[: len(some), config.skip :].flatten(0, 1).float().cpu().numpy()
            with np.errstate(over="ignore"):  # write_shard says what to do
                parts[hook].append(rows.astype(config.dtype))
    return places, {hook: np.concatenate(rows) for hook, rows in parts.items()}
