"""The settings of parameter decomposition: targets, APD, SPD, sweeps. Knows no computation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from custodes.config import Config

__all__ = [
    "APDConfig",
    "EmbeddedConfig",
    "GatedConfig",
    "ModuleConfig",
    "ResidualConfig",
    "RunConfig",
    "SPDConfig",
    "SweepConfig",
    "TMSConfig",
    "TargetConfig",
]

Schedule = Literal["constant", "linear", "cosine"]


class TMSConfig(Config):
    """A toy model of superposition: ReLU(W^T W x + b), with or without a hidden identity."""

    features: int = Field(default=5, ge=2)
    """Input features, each in [0, 1]."""
    hidden: int = Field(default=2, ge=1)
    """Width in the middle."""
    identity: bool = False
    """Put a fixed identity matrix in the middle; it is decomposed too."""
    probability: float = Field(default=0.05, gt=0, le=1)
    """How likely a feature is present."""
    steps: int = Field(default=5000, ge=0)
    """Training steps of the target."""
    batch: int = Field(default=1024, ge=1)
    """Rows of a training step."""
    rate: float = Field(default=5e-3, gt=0)
    """Learning rate of AdamW."""
    schedule: Schedule = "linear"
    """How it falls: linear; constant; or cosine, a quarter of its period from 1 to 0."""


class ResidualConfig(Config):
    """A residual MLP between a fixed random embedding and its transpose: y = x + ReLU(x)."""

    features: int = Field(default=100, ge=2)
    """Input features, each in [-1, 1]."""
    embedding: int = Field(default=1000, ge=1)
    """Width of the residual stream; the embedding's rows have unit length."""
    neurons: int = Field(default=50, ge=1)
    """Neurons of a layer."""
    layers: int = Field(default=1, ge=1)
    """MLP layers."""
    probability: float = Field(default=0.01, gt=0, le=1)
    """How likely a feature is present."""
    steps: int = Field(default=1000, ge=0)
    """Training steps of the target."""
    batch: int = Field(default=2048, ge=1)
    """Rows of a training step."""
    rate: float = Field(default=3e-3, gt=0)
    """Learning rate of AdamW, falling by a quarter of a cosine."""


class GatedConfig(Config):
    """Functions of one number, coded by hand: each is added up where its control bit is on."""

    functions: int = Field(default=4, ge=2)
    """How many functions, and control bits."""
    neurons: int = Field(default=8, ge=2)
    """Neurons that approximate a function piecewise linearly."""
    width: float = Field(default=5.0, gt=0)
    """The number is drawn from [0, width]."""
    probability: float = Field(default=0.1, gt=0, le=1)
    """How likely a control bit is on."""


class ModuleConfig(Config):
    """Any torch module, by naming its weight matrices."""

    factory: str = ""
    """`package.module:function` of a generator; returns the module and a function that draws.

    The drawing function takes a torch.Generator and a number of rows and returns the inputs.
    """
    weights: tuple[str, ...] = ()
    """Names of `torch.nn.Linear` modules in it, such as `layers.0.up`."""
    loss: Literal["mse", "kl"] = "mse"
    """How outputs are compared: squared error, or KL divergence of logits."""


class EmbeddedConfig(Config):
    """One matrix of a causal language model, the embedded SmolLM2-135M (4-bit) by default."""

    matrix: str = "model.layers.0.mlp.down_proj"
    """Name of a linear module."""
    depth: int | None = Field(default=2, ge=1)
    """Only the model's first so many blocks, read out by its own head; null for all."""
    text: Path | None = None
    """A text file; null takes a short text of the package's own."""
    tokens: int = Field(default=16, ge=2)
    """Tokens of a row."""
    model: str | None = None
    """A folder or hub id of another causal language model."""


class TargetConfig(Config):
    """The network that is decomposed."""

    kind: Literal["tms", "residual-mlp", "gated", "module", "embedded"] = "tms"
    """Which; the section of the same name says more."""
    tms: TMSConfig = TMSConfig()
    """tms: a toy model of superposition."""
    residual: ResidualConfig = ResidualConfig()
    """residual-mlp: compressed computation, one layer or several."""
    gated: GatedConfig = GatedConfig()
    """gated: functions coded by hand."""
    module: ModuleConfig = ModuleConfig()
    """module: any torch module."""
    embedded: EmbeddedConfig = EmbeddedConfig()
    """embedded: one matrix of a language model."""
    seed: int = 0
    """Of the target's weights and training."""
    own: bool = False
    """Train a target of its own for every seed (tms, residual-mlp), in place of one for all."""


class RunConfig(Config):
    """What both methods share: seeds, optimizer, judging."""

    target: TargetConfig = TargetConfig()
    """The network."""
    seeds: int = Field(default=3, ge=1)
    """Decompositions side by side in one run."""
    first_seed: int = 0
    """They have this seed and the following ones."""
    nulls: int = Field(default=1, ge=0)
    """Beside them so many of a random network: the same matrices with entries drawn anew."""
    components: int = Field(default=20, ge=1)
    """Components (APD), or subcomponents of each matrix (SPD)."""
    steps: int = Field(default=20_000, ge=1)
    """Training steps. Where no step depends on their number (a constant schedule, no warm-up, no
    annealing) a run may go on with more of them in its folder."""
    batch: int = Field(default=2048, ge=1)
    """Rows of a step."""
    rate: float = Field(default=1e-3, gt=0)
    """Learning rate of Adam."""
    schedule: Schedule = "constant"
    """constant; linear; or cosine, a quarter of its period from 1 to 0."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from 0."""
    clip: float | None = Field(default=None, gt=0)
    """Greatest norm of a seed's gradient; null does not clip."""
    points: int = Field(default=50, ge=1)
    """Points of a training curve."""
    checkpoint_seconds: float = Field(default=60.0, gt=0)
    """How often the state is saved, so that a killed run can go on."""
    judged_rows: int = Field(default=2048, ge=1)
    """Rows that the finished decomposition is judged on; drawn anew: where inputs are few (text,
    finite data), some were trained on."""
    attack_steps: int = Field(default=20, ge=0)
    """Worst-case masks: steps of the attack, by the gradient's sign."""
    attack_rate: float = Field(default=0.1, gt=0)
    """Worst-case masks: size of such a step."""
    device: str = "cpu"
    """A torch device. Seeds draw the same numbers on the same kind of device only."""
    threads: int = Field(default=1, ge=1)
    """Threads of torch."""

    def timed(self) -> bool:
        """Whether a step depends on how many there are in all."""
        return self.schedule != "constant" or self.warmup > 0


class APDConfig(RunConfig):
    """Attribution-based parameter decomposition (arXiv 2501.14926)."""

    rank: int | None = Field(default=None, ge=1)
    """Rank that a component may have in a matrix; null: the matrix's smaller side."""
    top_k: float = Field(default=1.0, gt=0)
    """Components that are active on a row, on average over the batch."""
    faithfulness: float = Field(default=1.0, ge=0)
    """Weight: the components add up to the target's parameters."""
    minimality: float = Field(default=1.0, ge=0)
    """Weight: the active components alone give the target's outputs."""
    simplicity: float = Field(default=0.7, ge=0)
    """Weight: active components are of low rank and in few matrices."""
    p: float = Field(default=1.0, gt=0, le=2)
    """Of the Schatten norm in simplicity."""
    activations: float = Field(default=0.0, ge=0)
    """Weight: the active components alone give the target's hidden activations."""
    unit_norm: bool = False
    """Keep the columns of A at unit length."""
    drawn_at_once: int = Field(default=1, ge=1)
    """The authors draw so many instances as one tensor by Xavier, which counts them: the more, the
    nearer to zero a component begins. Seeds are independent here all the same."""
    attributions: Literal["target", "components"] = "target"
    """Whose gradients say which components matter: the target's, or the components' own sum."""

    @model_validator(mode="after")
    def _one_active(self) -> APDConfig:
        if self.top_k * min(self.batch, self.judged_rows) < 1:
            raise ValueError(
                f"top_k {self.top_k:g} of a batch of {self.batch} rows (judged: "
                f"{self.judged_rows}) leaves no component active; give more rows or a greater top_k"
            )
        return self


class SPDConfig(RunConfig):
    """Stochastic parameter decomposition (arXiv 2506.20790), and its later practical recipe."""

    gate_neurons: int = Field(default=16, ge=1)
    """Hidden neurons of a causal-importance function."""
    samples: int = Field(default=1, ge=1)
    """Masks drawn for a row in a step."""
    tied_steps: Literal[1, 2] = 1
    """Factors of two tied matrices move once a step, by the sum of both gradients; or twice, by
    each with moments of its own, as in the authors' code."""
    faithfulness: float = Field(default=1.0, ge=0)
    """Weight: the subcomponents add up to the target's matrices."""
    stochastic: float = Field(default=1.0, ge=0)
    """Weight: the output survives random masks on all matrices at once."""
    layerwise: float = Field(default=1.0, ge=0)
    """Weight: the output survives random masks on one matrix at a time."""
    importance: float = Field(default=3e-3, ge=0)
    """Weight: few subcomponents are important."""
    p: float = Field(default=1.0, gt=0)
    """Power of an importance."""
    p_final: float | None = Field(default=None, gt=0)
    """Power at the end; null keeps `p`."""
    p_from: float = Field(default=0.0, ge=0, lt=1)
    """Share of training at which the power begins to fall."""
    frequency: float = Field(default=0.0, ge=0)
    """Extra price of a subcomponent by how often it is important (beta of the VPD paper)."""
    delta: bool = False
    """The rest W - UV is one more subcomponent, never important, masked at random."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps before the first that fit faithfulness alone."""
    warmup_rate: float = Field(default=1e-2, gt=0)
    """Learning rate of those."""
    adversarial: float = Field(default=0.0, ge=0)
    """Weight: the output survives masks that an attack chose, the same for the whole batch."""
    adversarial_steps: int = Field(default=1, ge=1)
    """Steps of that attack."""
    adversarial_rate: float = Field(default=1.0, gt=0)
    """Size of a step of that attack, by the gradient's sign; masks stay in [0, 1]."""

    def timed(self) -> bool:
        """See `RunConfig`."""
        return super().timed() or self.p_final is not None

    @model_validator(mode="after")
    def _some_reconstruction(self) -> SPDConfig:
        if not (self.stochastic or self.layerwise or self.adversarial):
            raise ValueError("one of stochastic, layerwise and adversarial must be above 0")
        return self


class SweepConfig(Config):
    """Runs of one method with settings varied; each run is one row of the engine."""

    preset: str = "tms-5-2"
    """Where the settings start."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What all runs change in it, such as `steps: 2000` or `target.seed: 1`."""
    vary: dict[str, tuple[Any, ...]] = Field(min_length=1)
    """Setting -> values; all combinations are run."""
    engine: str = "local"
    """Where: local or ray."""
    engine_settings: dict[str, Any] = Field(default_factory=dict)
    """The engine's own settings."""
