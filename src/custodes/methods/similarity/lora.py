"""A student that is fine-tuned: low-rank adapters (LoRA) on a sentence encoder, and a head.

Needs the extra `train` (peft). Knows nothing of tasks or studies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from custodes.errors import MissingExtraError
from custodes.methods.similarity.answers import Floats
from custodes.methods.similarity.supervisors import Encoder, Predictor, encode, pool

__all__ = ["LoraSupervisor"]

_BATCH = 16


class LoraSupervisor:
    """LoRA (rank 8 on query and value) and a linear head, trained on soft targets with AdamW."""

    def __init__(
        self, name: str, encoder: Encoder, *, epochs: int = 3, learning_rate: float = 2e-3
    ) -> None:
        self.name = name
        self._encoder = encoder
        self._epochs = epochs
        self._rate = learning_rate

    def fit(self, texts: Sequence[str], targets: Floats, *, seed: int) -> Predictor:
        """Fine-tune; same seed and threads, same student. `MissingExtraError` without peft."""
        import torch

        torch.manual_seed(seed)
        tokenizer, model = self._adapted()
        head = torch.nn.Linear(model.config.hidden_size, 1)
        wanted = [p for p in model.parameters() if p.requires_grad] + list(head.parameters())
        optimizer = torch.optim.AdamW(wanted, lr=self._rate)
        order = np.random.default_rng(seed)
        steps = self._epochs * -(-len(texts) // _BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        gold = torch.as_tensor(targets, dtype=torch.float32)
        model.train()
        for _ in range(self._epochs):
            for rows in np.array_split(order.permutation(len(texts)), -(-len(texts) // _BATCH)):
                logits = _logits(model, head, tokenizer, [texts[row] for row in rows])
                loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, gold[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
        model.eval()

        def predict(others: Sequence[str]) -> Floats:
            with torch.inference_mode():
                parts = [
                    torch.sigmoid(_logits(model, head, tokenizer, others[at : at + 64])).numpy()
                    for at in range(0, len(others), 64)
                ]
            return np.concatenate(parts).astype(np.float64)

        return predict

    def _adapted(self) -> tuple[Any, Any]:
        try:
            from peft import LoraConfig, get_peft_model
        except ModuleNotFoundError as error:
            raise MissingExtraError("peft", "train") from error
        tokenizer, model = self._encoder.load()
        settings = LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"])
        return tokenizer, get_peft_model(model, settings)


def _logits(model: Any, head: Any, tokenizer: Any, texts: Sequence[str]) -> Any:
    batch = encode(tokenizer, texts)
    states = model(**batch).last_hidden_state
    return head(pool(states, batch["attention_mask"])).squeeze(-1)
