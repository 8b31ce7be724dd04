"""Small learners of binary tasks: text models and heads on the frozen features of a language model.

A supervisor is fitted on texts with soft targets (the truth, or another supervisor's
probabilities) and predicts the probability of 1. Knows no task and no study; language models come
in through `ActivationModel` or a folder of weights.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from custodes.config import digest, write_atomically
from custodes.errors import ConfigError, DataError
from custodes.methods.similarity.answers import Floats
from custodes.models import ActivationModel

__all__ = [
    "Encoder",
    "FeatureCache",
    "FeatureSupervisor",
    "Predictor",
    "Supervisor",
    "TextSupervisor",
    "layer_features",
]

Predictor = Callable[[Sequence[str]], Floats]
"""Texts -> probability of label 1, [n]."""

Features = NDArray[np.float32]


class Supervisor(Protocol):
    """Something that learns a binary task from texts and soft targets."""

    name: str

    def fit(self, texts: Sequence[str], targets: Floats, *, seed: int) -> Predictor:
        """Learn; targets are probabilities of label 1, [n]."""
        ...


def _fit_logistic(features: Any, targets: Floats, strength: float) -> Any:
    """Logistic regression on soft targets: each row once as 1 and once as 0, weighted."""
    from scipy.sparse import issparse, vstack
    from sklearn.linear_model import LogisticRegression

    stacked = vstack([features, features]) if issparse(features) else np.vstack([features] * 2)
    labels = np.repeat([1, 0], len(targets))
    weights = np.concatenate([targets, 1 - targets])
    kept = weights > 0
    if len(set(labels[kept])) < 2:
        raise DataError("got targets that are all 0 or all 1; expected both answers in training")
    model = LogisticRegression(C=strength, max_iter=2000)
    return model.fit(stacked[kept], labels[kept], sample_weight=weights[kept])


class TextSupervisor:
    """TF-IDF of words or of characters, and logistic regression."""

    def __init__(
        self, name: str, *, analyzer: str, ngrams: tuple[int, int], strength: float = 30.0
    ):
        self.name = name
        self._analyzer = analyzer
        self._ngrams = ngrams
        self._strength = strength

    def fit(self, texts: Sequence[str], targets: Floats, *, seed: int) -> Predictor:
        """Learn vocabulary and weights; deterministic, `seed` is not used."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(
            analyzer=self._analyzer, ngram_range=self._ngrams, sublinear_tf=True
        )
        model = _fit_logistic(vectorizer.fit_transform(texts), targets, self._strength)
        return lambda others: np.asarray(
            model.predict_proba(vectorizer.transform(others))[:, 1], dtype=np.float64
        )


class FeatureSupervisor:
    """A linear head on frozen features [n, d], standardized on the training texts."""

    def __init__(
        self, name: str, features: Callable[[Sequence[str]], Features], *, strength: float = 0.1
    ) -> None:
        self.name = name
        self._features = features
        self._strength = strength

    def fit(self, texts: Sequence[str], targets: Floats, *, seed: int) -> Predictor:
        """Learn the head; deterministic, `seed` is not used."""
        values = self._features(texts).astype(np.float64)
        center, scale = values.mean(axis=0), values.std(axis=0) + 1e-6
        model = _fit_logistic((values - center) / scale, targets, self._strength)

        def predict(others: Sequence[str]) -> Floats:
            rows = (self._features(others) - center) / scale
            return np.asarray(model.predict_proba(rows)[:, 1], dtype=np.float64)

        return predict


class FeatureCache:
    """Features of texts on disk, so that a killed study does not compute them again.

    One `.npy` file a chunk of texts, named by its content and by what computed it; features are
    kept in float16, [layers, d] a text.
    """

    def __init__(self, folder: Path, source: str) -> None:
        self._folder = folder
        self._source = source
        self._rows: dict[str, NDArray[np.float16]] = {}

    def fill(
        self,
        texts: Sequence[str],
        compute: Callable[[Sequence[str]], NDArray[np.float32]],
        *,
        chunk: int = 512,
    ) -> Iterator[int]:
        """Make sure that all texts are there; yields how many are, after every chunk."""
        self._folder.mkdir(parents=True, exist_ok=True)
        unique = list(dict.fromkeys(texts))
        for start in range(0, len(unique), chunk):
            part = unique[start : start + chunk]
            path = self._path(part)
            if path.exists():
                values = np.load(path, allow_pickle=False)
            else:
                values = compute(part).astype(np.float16)
                buffer = io.BytesIO()
                np.save(buffer, values, allow_pickle=False)
                write_atomically(path, buffer.getvalue())
            self._rows.update(zip(part, values, strict=True))
            yield len(self._rows)

    def _path(self, texts: Sequence[str]) -> Path:
        digest = hashlib.sha256("\0".join([self._source, *texts]).encode("utf-8", "replace"))
        return self._folder / f"{digest.hexdigest()[:24]}.npy"

    def layer(self, index: int) -> Callable[[Sequence[str]], Features]:
        """A function from texts to one layer's features; `DataError` for a text not filled in."""

        def features(texts: Sequence[str]) -> Features:
            missing = [text for text in texts if text not in self._rows]
            if missing:
                raise DataError(f"features of {len(missing)} texts were not computed; call fill()")
            return np.stack([self._rows[text][index] for text in texts]).astype(np.float32)

        return features


def layer_features(
    model: ActivationModel, texts: Sequence[str], layers: Sequence[int]
) -> NDArray[np.float32]:
    """Mean and last-token activations side by side at each layer, [n, layers, 2 d]."""
    rows = []
    for found in model.activations(texts, layers):
        # The first token's activations are an attention sink, alike for every text.
        values = found.values[:, 1:] if found.values.shape[1] > 1 else found.values
        rows.append(np.concatenate([values.mean(axis=1), values[:, -1]], axis=-1))
    return np.stack(rows)


class Encoder:
    """A sentence encoder from a folder of weights (MiniLM): mean of the last hidden states."""

    def __init__(self, folder: Path | None = None) -> None:
        from custodes.models.encoder import minilm_folder

        self.folder = folder or minilm_folder()
        self._loaded: tuple[Any, Any] | None = None

    @property
    def identity(self) -> str:
        """Names the weights by their content; `ConfigError` where there is no such folder."""
        if not self.folder.is_dir():
            raise ConfigError(
                f"{self.folder}: no such folder; expected config.json, model.safetensors and "
                "tokenizer.json in it"
            )
        return digest(self.folder)

    def load(self) -> tuple[Any, Any]:
        """Tokenizer and a fresh model; `ConfigError` where the folder does not hold them."""
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(self.folder))
            model = AutoModel.from_pretrained(str(self.folder), use_safetensors=True)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self.folder}: cannot be loaded as a sentence encoder ({error}); expected "
                "config.json, model.safetensors and tokenizer.json"
            ) from error
        return tokenizer, model.eval()

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Mean-pooled embeddings as one layer, [n, 1, d]."""
        import torch

        if self._loaded is None:
            self._loaded = self.load()
        tokenizer, model = self._loaded
        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), 64):
                batch = encode(tokenizer, texts[start : start + 64])
                parts.append(
                    pool(model(**batch).last_hidden_state, batch["attention_mask"]).numpy()
                )
        return np.concatenate(parts)[:, None, :].astype(np.float32)


def encode(tokenizer: Any, texts: Sequence[str]) -> Any:
    """Padded token tensors of a batch of texts."""
    return tokenizer(
        list(texts), padding=True, truncation=True, max_length=128, return_tensors="pt"
    )


def pool(states: Any, mask: Any) -> Any:
    """Mean of the hidden states [n, T, d] where the mask is 1."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)
