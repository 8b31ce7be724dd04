"""A language model with low-rank adapters writes the summaries and decides from them.

It chooses among the phrases of `phrases.py` by the logits of option letters, all features of an
application in one forward pass, and decides from a summary by the logits of two more. Trained by
policy gradient with advantages relative to the group of episodes of one application (GRPO without
its clipping, since every batch is used once). Needs the extra `train` (peft).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from custodes.config import cache_folder
from custodes.errors import ConfigError, MissingExtraError
from custodes.methods.mona.config import LanguageConfig
from custodes.methods.mona.credit import Arm, credited
from custodes.methods.mona.gridworld.board import Floats
from custodes.methods.mona.loan.exact import Judgment
from custodes.methods.mona.loan.phrases import PhraseGame, judge_phrases, monitor
from custodes.models.causal import CausalConfig
from custodes.models.embedded import SMOLLM2, prepare
from custodes.models.transformers import load_pretrained

__all__ = ["LanguagePolicy", "train_language"]

_LETTERS = (" A", " B", " C", " D")
_BATCH = 32
_WRITER, _JUDGE = "writer", "judge"


class LanguagePolicy:
    """The model: logits of options [I, F, 4] and of acceptance [S]."""

    def __init__(self, game: PhraseGame, config: LanguageConfig, *, seed: int) -> None:
        torch.manual_seed(seed)
        torch.set_num_threads(config.threads)
        self._rounded = config.precision == "bfloat16"
        name = config.model or str(prepare(SMOLLM2, cache_folder() / "models"))
        model, tokenizer = load_pretrained(name, CausalConfig())
        self._tokenizer: Any = tokenizer.backend_tokenizer
        self._model = _adapted(model, config)
        letters = [self._encode(letter) for letter in _LETTERS]
        if any(len(ids) != 1 for ids in letters):
            raise ConfigError(f"{name}: an option letter is not one token; use another model")
        self._letters = torch.tensor([ids[0] for ids in letters])
        self._questions = [self._question(game, row) for row in range(len(game.game.chance))]
        self._summaries = [
            self._encode(f"Summary of a loan application: {text}\nAccept? A: no. B: yes.\nAnswer:")
            for text in game.summaries
        ]
        self._wanted = [each for name, each in self._model.named_parameters() if "lora_" in name]
        self._shift = torch.nn.Parameter(torch.zeros(game.features, len(_LETTERS)))
        self._optimizer = torch.optim.AdamW(
            [{"params": self._wanted}, {"params": [self._shift], "lr": config.shift_rate}],
            lr=config.learning_rate,
            weight_decay=0.0,
        )
        with torch.no_grad():
            first, second = self._chosen(), self._answered()
        self._sharpness = [
            config.loan.spread / max(float(each.square().mean().sqrt()), 1e-6)
            for each in (first, second)
        ]

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _question(self, game: PhraseGame, row: int) -> tuple[list[int], list[int]]:
        """Tokens of an application with its options, and the last token before each choice.

        No choice is shown to the ones after it, so one pass scores them all.
        """
        ids = self._encode(f"Loan application. {game.application(row)}\nSummarize it.\n")
        places = []
        for feature in range(game.features):
            options = zip(_LETTERS, game.options(row, feature), strict=True)
            listed = "".join(f"{letter}: {text or '(nothing)'}" for letter, text in options)
            ids = ids + self._encode(f"{game.name(feature)}.{listed}\nChoice:")
            places.append(len(ids) - 1)
            ids = ids + self._encode("\n")
        return ids, places

    def options(self) -> Tensor:
        """Logits of the options of every application, [I, F, 4]."""
        return self._sharpness[0] * self._chosen() + self._shift

    def acceptance(self) -> Tensor:
        """Log-odds of accepting on every summary, [S]."""
        return self._sharpness[1] * self._answered()

    def _chosen(self) -> Tensor:
        """What the letters' logits of an application have that the mean application has not."""
        places = [places for _, places in self._questions]
        logits = self._logits(_WRITER, [ids for ids, _ in self._questions], places)
        return logits - logits.mean(dim=0, keepdim=True)

    def _answered(self) -> Tensor:
        """What the log-odds of B against A on a summary have that the mean summary has not."""
        places = [[len(ids) - 1] for ids in self._summaries]
        logits = self._logits(_JUDGE, self._summaries, places)[:, 0]
        odds = logits[:, 1] - logits[:, 0]
        return odds - odds.mean()

    def _logits(
        self, role: str, rows: Sequence[list[int]], places: Sequence[list[int]]
    ) -> Tensor:
        """Logits of the letters alone behind each place, [rows, places, 4]."""
        self._model.set_adapter(role)
        for each in self._wanted:  # peft freezes the other role's, whose gradient is yet to come
            each.requires_grad_(True)
        backbone = self._model.get_base_model().model
        weights = self._model.get_output_embeddings().weight[self._letters]
        order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
        parts = []
        for at in range(0, len(order), _BATCH):
            batch = [rows[index] for index in order[at : at + _BATCH]]
            longest = max(map(len, batch))
            ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in batch])
            mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in batch])
            with torch.autocast("cpu", torch.bfloat16, enabled=self._rounded):
                states = backbone(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            spots = torch.tensor([places[index] for index in order[at : at + _BATCH]])
            chosen = states[torch.arange(len(batch))[:, None], spots]
            parts.append(chosen @ weights.T)
        return torch.cat(parts)[torch.from_numpy(np.argsort(order))]

    def step(self, loss: Tensor) -> None:
        """One step of AdamW."""
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()


def _adapted(model: Any, config: LanguageConfig) -> Any:
    """The model's first blocks with adapters on queries and values, for writer and judge each."""
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as error:
        raise MissingExtraError("peft", "train") from error
    if config.depth is not None:
        model.model.layers = model.model.layers[: config.depth]
        model.config.num_hidden_layers = len(model.model.layers)
    settings = LoraConfig(
        r=config.rank, lora_alpha=2 * config.rank, target_modules=["q_proj", "v_proj"]
    )
    adapted = get_peft_model(model, settings, adapter_name=_WRITER)
    adapted.add_adapter(_JUDGE, settings)
    return adapted


def train_language(
    config: LanguageConfig, arm: Arm, *, seed: int
) -> Iterator[tuple[int, Judgment]]:
    """(update, exact figures) along training of one arm."""
    game = PhraseGame(config)
    policy = LanguagePolicy(game, config, seed=seed)
    penalties = game.penalties(monitor(config))
    rng = np.random.default_rng(seed)
    every = max(1, config.updates // config.points)
    for update in range(config.updates + 1):
        if update % every == 0 or update == config.updates:
            yield update, _judged(game, policy)
        if update < config.updates:
            _update(game, policy, penalties, arm, rng)


def _judged(game: PhraseGame, policy: LanguagePolicy) -> Judgment:
    with torch.no_grad():
        said = _spoken(game, policy.options()).exp().numpy()
        accepts = torch.sigmoid(policy.acceptance().double()).numpy()
    return judge_phrases(game, said, accepts)


def _spoken(game: PhraseGame, options: Tensor) -> Tensor:
    """Log-probability of every combination of options, [I, C], from logits [I, F, 4]."""
    logs = torch.log_softmax(options.double(), dim=-1)
    return logs[:, torch.arange(game.features), torch.from_numpy(game.choices)].sum(dim=2)


def _update(
    game: PhraseGame,
    policy: LanguagePolicy,
    penalties: Floats,
    arm: Arm,
    rng: np.random.Generator,
) -> None:
    """One gradient step on both policies from a group of summaries of every application.

    Applications are not sampled but weighed by their probability, and so are the two decisions on a
    summary: nothing follows them, so their expectation is known.
    """
    config = game.config
    spoken = _spoken(game, policy.options())
    said = spoken.detach().exp().numpy()
    share = said if config.group is None else rng.multinomial(config.group, said) / config.group
    odds = policy.acceptance().double()[torch.from_numpy(game.summary_of)]
    deserving = torch.from_numpy(game.game.nationality[:, None].astype(bool))
    right = torch.sigmoid(torch.where(deserving, odds, -odds))
    earned = right.detach().numpy()
    nothing = np.zeros_like(earned)
    instant = np.stack([-config.loan.penalty * penalties, earned], axis=-1)
    omitted = np.broadcast_to(game.omitted, earned.shape)
    approval = np.stack([-config.loan.approval * omitted, nothing], axis=-1)
    credit = credited(instant, approval, arm)[..., 0]
    advantage = torch.from_numpy(credit - (share * credit).sum(axis=1, keepdims=True))
    weight = torch.from_numpy(game.game.chance[:, None] * share)
    gain = (weight * (advantage * spoken + right)).sum()
    entropy = -(torch.from_numpy(game.game.chance) * (spoken.exp() * spoken).sum(dim=1)).sum()
    policy.step(-(gain + config.entropy * entropy))
