"""Random networks beside a trained one (arXiv 2501.17727v2, section 3), and token entropy.

trained                       as it is
rerandomized                  every parameter drawn anew, N(mean, variance) of its own entries
rerandomized-but-embeddings   the same, embedding and unembedding kept
step-0                        a fresh initialization by the model's own code; for a model whose
                              step-0 checkpoint is published, give that as the model instead
control                       the trained model, every token embedded as fresh N(0, 1) noise at
                              every occurrence: nothing about the text is left
control-matched               the same with noise of the embedding matrix' own mean and variance;
                              not in the paper: N(0, 1) may be far longer than any embedding
"""

from __future__ import annotations

import copy
import zlib
from typing import Any, get_args

import torch
from torch import Tensor, nn

from custodes.errors import ConfigError
from custodes.methods.sae.config import Network
from custodes.methods.sae.language import LanguageModel

__all__ = ["VARIANTS", "rerandomize", "token_entropy", "variant"]

VARIANTS: tuple[str, ...] = get_args(Network)


def variant(language: LanguageModel, name: str, *, seed: int) -> LanguageModel:
    """A copy of the model made random in the named way; the original is left as it is."""
    if name not in VARIANTS:
        raise ConfigError(f"variant: got {name!r}, expected one of {', '.join(VARIANTS)}")
    if name == "trained":
        return language
    if name == "step-0":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = type(language.model)(copy.deepcopy(language.model.config))
        model = model.to(language.device).eval()
    else:
        model = copy.deepcopy(language.model)
        if name in ("control", "control-matched"):
            _embed_noise(model, seed, matched=name == "control-matched")
        else:
            rerandomize(model, seed=seed, embeddings=name == "rerandomized")
    return LanguageModel(
        model=model,
        tokenizer=language.tokenizer,
        name=f"{language.name}, {name}, seed {seed}",
        content=language.content,
    )


@torch.no_grad()
def rerandomize(model: Any, *, seed: int, embeddings: bool) -> None:
    """Draw every parameter anew in place, matching mean and variance of each tensor.

    Not `embeddings`: the input embedding and the unembedding (one tensor where tied) are kept.
    """
    draw = torch.Generator().manual_seed(seed)
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    kept = {id(one.weight) for one in ends if one is not None}
    for tensor in model.parameters():
        if id(tensor) in kept and not embeddings:
            continue
        mean = tensor.double().mean()
        deviation = tensor.double().std(correction=0)
        drawn = torch.randn(tensor.shape, generator=draw, dtype=torch.float32)
        tensor.copy_((drawn * float(deviation) + float(mean)).to(tensor))


def _embed_noise(model: Any, seed: int, *, matched: bool) -> None:
    """Replace embeddings by noise, fresh for each occurrence, the same for equal batches.

    N(0, 1), or of the embedding matrix' mean and variance. The noise of a batch is drawn from its
    token ids, so that a killed collection can go on.
    """
    table = model.get_input_embeddings()
    moments = (0.0, 1.0)
    if matched:
        with torch.inference_mode():  # not the weight's: some models scale what is looked up
            every = torch.arange(table.num_embeddings, device=table.weight.device)
            embedded = table(every).double()
        moments = float(embedded.mean()), float(embedded.std(correction=0))

    def noise(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        ids = args[0].cpu().contiguous()
        draw = torch.Generator().manual_seed(zlib.crc32(ids.numpy().tobytes()) * 1009 + seed)
        drawn = torch.randn(output.shape, generator=draw)
        return (drawn * moments[1] + moments[0]).to(output)

    table.register_forward_hook(noise)


def token_entropy(activations: Tensor, tokens: Tensor) -> Tensor:
    """Entropy in nats [L] of each latent's total activation over token ids (section 5).

    `activations` [n, L] at least 0, `tokens` [n]. 0: it fires on one token alone. NaN: never. The
    paper sums over each latent's max-activating examples, those that explain it; over all contexts,
    as `run_null` asks, weak activations weigh in, and the figure is not the paper's.
    """
    ids, place = torch.unique(tokens, return_inverse=True)
    mass = torch.zeros(len(ids), activations.shape[1], dtype=torch.float64)
    mass.index_add_(0, place, activations.double())
    total = mass.sum(0)
    share = mass / total
    entropy = -torch.special.xlogy(share, share).sum(0)
    return torch.where(total > 0, entropy, torch.nan)
