"""A language model with low-rank adapters writes the summaries and decides from them.

It chooses among the phrases of `phrases.py` by the logits of option letters, all features of an
application in one forward pass, and decides from a summary by the logits of two more. Trained by
policy gradient: over all summaries of an application, weighed by their probability, or over a
sampled group of them (`group`; GRPO, arXiv 2402.03300, without its clipping, since every batch is
used once). Needs the extra `train` (peft).

- *Logits are relative to the mean input.* What prompts share (the template) gives nearly all of a
  logit, and nearly all of a gradient step: at first the letters' logits differ by 0.04 from one
  application to another, and one step of Adam moves all of them together by more. Acceptance became
  a constant within 20 updates. So the mean over all inputs, of which there are finitely many, is
  taken away, at every update (contextual calibration, arXiv 2102.09690, has one empty input
  for it), and the rest is scaled to the deviation `loan.spread` at the start. What an option has in
  all applications alike is a parameter of its own.
- *Writer and judge have adapters of their own*, so that no step on the judge changes the writer.
  With shared ones the later step's gradient reaches the earlier one, whatever is credited.
- *Entropy of phrases counts enough* that equally good phrases stay equally likely. The step that
  suppresses a penalized option moves the others too, differently in each application; that is a
  code for the nationality that nobody was paid for, and the judge learns to read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from custodes.models.arithmetic import resolved
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
        self._rounded = resolved(config.precision, "cpu") == "bfloat16"
        name = config.model or str(prepare(SMOLLM2, cache_folder() / "models"))
        model, tokenizer = load_pretrained(name, CausalConfig())
        _check_layout(model, name)
        self._tokenizer: Any = tokenizer.backend_tokenizer
        letters = [self._encode(letter) for letter in _LETTERS]
        if any(len(ids) != 1 for ids in letters):
            raise ConfigError(f"{name}: an option letter is not one token; use another model")
        self._letters = torch.tensor([ids[0] for ids in letters])
        questions = [self._question(game, row) for row in range(len(game.game.chance))]
        summaries = [
            self._encode(f"Summary of a loan application: {text}\nAccept? A: no. B: yes.\nAnswer:")
            for text in game.summaries
        ]
        every = [_batches(questions), _batches([(ids, [len(ids) - 1]) for ids in summaries])]
        upper = _split(model, config)
        with torch.no_grad():
            self._questions, self._summaries = (
                [self._through(model.model, batch) for batch in batches] for batches in every
            )
        self._last = upper[0][-1].mlp = _Where(upper[0][-1].mlp)
        self._model = _adapted(model, upper, config)
        self._wanted = [each for name, each in self._model.named_parameters() if "lora_" in name]
        self._shift = torch.nn.Parameter(torch.zeros(game.features, len(_LETTERS)))
        shift: dict[str, Any] = {"params": [self._shift], "lr": config.shift_rate}
        groups: list[dict[str, Any]] = [{"params": self._wanted}, shift]
        self._optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=0.0)
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
        logits = self._logits(_WRITER, self._questions)
        logits = logits - logits.mean(dim=2, keepdim=True)  # of no consequence, but would be scaled
        return logits - logits.mean(dim=0, keepdim=True)

    def _answered(self) -> Tensor:
        """What the log-odds of B against A on a summary have that the mean summary has not."""
        logits = self._logits(_JUDGE, self._summaries)[:, 0]
        odds = logits[:, 1] - logits[:, 0]
        return odds - odds.mean()

    def _logits(self, role: str, batches: Sequence[_Batch]) -> Tensor:
        """Logits of the letters alone behind each place, [prompts, places, 4]."""
        self._model.set_adapter(role)
        for each in self._wanted:  # peft freezes the other role's, whose gradient is yet to come
            each.requires_grad_(True)
        backbone = self._model.get_base_model().model
        weights = self._model.get_output_embeddings().weight[self._letters]
        parts = []
        for batch in batches:
            self._last.places = batch.places
            states = self._through(backbone, batch).inputs
            parts.append(_at(states, batch.places) @ weights.T)
        order = torch.cat([batch.rows for batch in batches])
        return torch.cat(parts)[torch.argsort(order)]

    def _through(self, backbone: Any, batch: _Batch) -> _Batch:
        """The batch with the backbone's states in place of its tokens or states."""
        entering = "inputs_embeds" if batch.inputs.is_floating_point() else "input_ids"
        with torch.autocast("cpu", torch.bfloat16, enabled=self._rounded):
            found = backbone(
                **{entering: batch.inputs}, attention_mask=batch.mask, use_cache=False
            ).last_hidden_state
        return replace(batch, inputs=found.float())

    def step(self, loss: Tensor) -> None:
        """One step of AdamW."""
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()


@dataclass(frozen=True)
class _Batch:
    """Prompts padded to one length: which they are, tokens or states, and where to look."""

    rows: Tensor
    inputs: Tensor
    mask: Tensor
    places: Tensor


def _at(states: Tensor, places: Tensor) -> Tensor:
    return states[torch.arange(len(states))[:, None], places]


class _Where(torch.nn.Module):
    """The last block's feed-forward part only where its result is looked at; 0 elsewhere."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.places = torch.zeros(0, 0, dtype=torch.long)

    def forward(self, states: Tensor) -> Tensor:
        found: Tensor = self.inner(_at(states, self.places))
        empty = found.new_zeros(states.shape)
        return empty.index_put((torch.arange(len(states))[:, None], self.places), found)


def _batches(prompts: Sequence[tuple[list[int], list[int]]]) -> list[_Batch]:
    """Prompts of like length together."""
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row][0]))
    found = []
    for at in range(0, len(order), _BATCH):
        rows = order[at : at + _BATCH]
        longest = max(len(prompts[row][0]) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            tokens = torch.tensor(prompts[row][0])
            ids[place, : len(tokens)], mask[place, : len(tokens)] = tokens, 1
        places = torch.tensor([prompts[row][1] for row in rows])
        found.append(_Batch(torch.tensor(rows), ids, mask, places))
    return found


def _check_layout(model: Any, name: str) -> None:
    """`ConfigError` where the model's parts are not where they are split, cut and adapted here."""
    inner = getattr(model, "model", None)
    blocks = list(getattr(inner, "layers", None) or ())
    parts = {part.rpartition(".")[2] for part, _ in blocks[-1].named_modules()} if blocks else set()
    there = {
        "blocks in model.layers": bool(blocks),
        "model.norm behind them": hasattr(inner, "norm"),
        "mlp in the last block": bool(blocks) and hasattr(blocks[-1], "mlp"),
        "q_proj and v_proj in the last block": {"q_proj", "v_proj"} <= parts,
    }
    missing = [part for part, found in there.items() if not found]
    if missing:
        raise ConfigError(
            f"language.model: got {name} ({type(model).__name__}) without {', '.join(missing)}; "
            "expected a model that is laid out as Llama is; give one of Llama, SmolLM, Mistral, "
            "Qwen2, Qwen3 or Gemma"
        )


def _split(model: Any, config: LanguageConfig) -> tuple[Any, Any, Any]:
    """Leave the model the blocks that stay as they are; return those to adapt, the norm, and what
    kinds of attention those blocks have, where the model tells kinds apart."""
    blocks = model.model.layers[: config.depth]
    adapted = config.adapted or len(blocks)
    if adapted > len(blocks):
        raise ConfigError(f"got adapted = {adapted}; expected at most the depth, {len(blocks)}")
    kept = len(blocks) - adapted
    kinds = getattr(model.config, "layer_types", None)
    below, above = (None, None) if kinds is None else (kinds[:kept], kinds[kept : len(blocks)])
    upper = blocks[kept:], model.model.norm, above
    _install(model, blocks[:kept], torch.nn.Identity(), below)
    return upper


def _install(model: Any, blocks: Any, norm: Any, kinds: Any) -> None:
    model.model.layers, model.model.norm = blocks, norm
    model.config.num_hidden_layers = len(blocks)
    if kinds is not None:  # looked up by a block's place among those that are there
        model.config.layer_types = list(kinds)


def _adapted(model: Any, upper: tuple[Any, Any, Any], config: LanguageConfig) -> Any:
    """The upper blocks with adapters on queries and values, for writer and judge each."""
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as error:
        raise MissingExtraError("peft", "train") from error
    _install(model, *upper)
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
            yield update, _judged(game, policy, penalties)
        if update < config.updates:
            _update(game, policy, penalties, arm, rng)


def _judged(game: PhraseGame, policy: LanguagePolicy, penalties: Floats) -> Judgment:
    with torch.no_grad():
        said = _spoken(game, policy.options()).exp().numpy()
        accepts = torch.sigmoid(policy.acceptance().double()).numpy()
    return judge_phrases(game, said, accepts=accepts, penalties=penalties)


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
