"""The settings of the sae method: what each command may be told. Knows no computation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from custodes.config import Config
from custodes.models.arithmetic import Precision, resolved

__all__ = [
    "CoderConfig",
    "CollectConfig",
    "CompareConfig",
    "DescribeConfig",
    "Kind",
    "Network",
    "NullConfig",
    "ToyConfig",
    "TrainConfig",
]

Kind = Literal["topk", "batchtopk", "jumprelu", "gated", "relu"]
Network = Literal[
    "trained", "rerandomized", "rerandomized-but-embeddings", "step-0", "control",
    "control-matched",
]  # fmt: skip


HELD_OUT = 16_384
"""Rows that judge and train nothing, where no other number is given."""


class CollectConfig(Config):
    """Which activations to collect."""

    model: str = "embedded"
    """embedded, a folder of a transformers model, or a hub id."""
    hooks: tuple[str, ...] = ("model.layers.7.mlp",)
    """residual.K, or a module's path (with :input for what it is given)."""
    tokens: int = Field(default=2_000_000, ge=1)
    """At most so many tokens of the texts."""
    context: int = Field(default=256, ge=2)
    """Tokens of one forward pass; texts are laid end to end."""
    skip: int = Field(default=1, ge=0)
    """Positions left out at each context's start: the first token is an attention sink."""
    batch: int = Field(default=16, ge=1)
    """Contexts in a forward pass."""
    shard_rows: int = Field(default=65_536, ge=1)
    """Activations in a shard, at most: whole contexts, and small stores are cut into 16 or more."""
    dtype: Literal["float16", "float32"] = "float16"
    """What is stored."""
    precision: Precision = "float32"
    """Of the model's products; bfloat16 (autocast) is faster where the processor has units for it,
    and adds noise: measure it against float32 first."""
    compile: bool = False
    """Compile the model's blocks (torch.compile): half a minute at the start, for which a C++
    compiler is needed, and faster from then on, most of all with bfloat16."""
    device: str = "cpu"
    """A torch device, of the model: cpu, cuda, cuda:1."""
    seed: int = Field(default=0, ge=0)
    """Of the shuffles."""

    @model_validator(mode="after")
    def _leaves_something(self) -> CollectConfig:
        if self.skip >= self.context:
            raise ValueError(f"skip: got {self.skip}, expected less than context {self.context}")
        if not self.hooks or len(set(self.hooks)) < len(self.hooks):
            raise ValueError("hooks: expected at least one, each once")
        return self


class CoderConfig(Config):
    """One autoencoder."""

    kind: Kind = "topk"
    """topk, batchtopk, jumprelu, gated or relu (L1)."""
    latents: int = Field(default=9216, ge=1)
    """F."""
    k: int = Field(default=32, ge=1)
    """Active latents: of each row (topk), on average over a batch (batchtopk)."""
    sparsity: float = Field(default=1.0, ge=0)
    """Weight of the sparsity term of jumprelu (L0), gated and relu (L1)."""
    bandwidth: float = Field(default=0.1, gt=0)
    """Width of the kernel behind jumprelu's thresholds."""
    threshold: float = Field(default=0.1, gt=0)
    """Where jumprelu's thresholds start."""
    auxiliary: float = Field(default=1 / 32, ge=0)
    """Weight of AuxK, which revives dead latents of topk and batchtopk; 0 for none."""
    precision: Precision = "float32"
    """Of the product with the whole encoder. Values of active pairs are computed in float32
    wherever that product only picks them: of topk and batchtopk always, of relu and gated in steps
    with few of them; in the other steps of these, and of jumprelu, all products are of this one."""
    learning_rate: float | None = Field(default=None, gt=0)
    """None: 2e-4 / sqrt(F / 16,384)."""
    seed: int = 0
    """Of the initial weights; the order of the data does not depend on it."""

    @model_validator(mode="after")
    def _k_fits(self) -> CoderConfig:
        if self.k > self.latents:
            raise ValueError(f"k: got {self.k}, expected at most the {self.latents} latents")
        return self

    def settled(self, device: str = "cpu") -> CoderConfig:
        """The same with `auto` as it comes out on this machine, which results are known by."""
        return self.model_copy(update={"precision": resolved(self.precision, device)})


class TrainConfig(Config):
    """Many autoencoders from one pass over one store."""

    hook: str = ""
    """Which activations; empty: the store's only hook."""
    kinds: tuple[Kind, ...] = Field(default=("topk",), min_length=1)
    """Each is trained with each of the sizes, of the k and of the seeds."""
    latents: tuple[int, ...] = Field(default=(9216,), min_length=1)
    """Sizes."""
    k: tuple[int, ...] = Field(default=(32,), min_length=1)
    """Active latents; of jumprelu, gated and relu only the first is used, and says nothing."""
    seeds: tuple[int, ...] = Field(default=(0, 1), min_length=1)
    """Two or more make seeds comparable."""
    coder: CoderConfig = CoderConfig()
    """Everything else of each of them."""
    batch: int = Field(default=2048, ge=2)
    """Rows in a step."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the store."""
    warm_up: int = Field(default=100, ge=0)
    """Steps in which the learning rate rises."""
    decay: float = Field(default=0.2, ge=0, le=1)
    """Share of the steps, at the end, in which it falls to 0."""
    dead_after: int = Field(default=500_000, ge=1)
    """A latent that was not active for so many rows is dead."""
    rows: int | None = Field(default=None, ge=2)
    """Train on so many first rows of the store alone; None: on all that are not held out."""
    held_out: int = Field(default=HELD_OUT, ge=2)
    """The last whole shards of so many rows or more judge, and train nothing: rows of one context
    share a shard. Of a store of arrays it is exactly so many last rows."""
    null: bool = True
    """Add each size's null: the same autoencoder with random directions, not trained."""
    checkpoint: int = Field(default=500, ge=0)
    """Steps between checkpoints, from which a killed run goes on; 0 for none."""
    threads: int = Field(default=1, ge=1)
    """Of torch."""
    device: str = "cpu"
    """A torch device, where autoencoders are trained and judged: cpu, cuda, cuda:1. Initial
    weights are drawn on the processor, the same for every device."""

    def settled(self) -> TrainConfig:
        """The same with the coder's `auto` as it comes out on this machine."""
        return self.model_copy(update={"coder": self.coder.settled(self.device)})

    def coders(self) -> list[CoderConfig]:
        """Every autoencoder to train."""
        found = []
        for kind in self.kinds:
            says = kind in ("topk", "batchtopk")
            for latents in self.latents:
                for k in self.k if says else (min(self.k[0], latents),):
                    for seed in self.seeds:
                        of_one = {"kind": kind, "latents": latents, "k": k, "seed": seed}
                        found.append(CoderConfig.parse({**self.coder.model_dump(), **of_one}))
        return found


class CompareConfig(Config):
    """How autoencoders are compared."""

    top: int = Field(default=16, ge=1)
    """Candidates of each row and column in the first round of the matching."""
    rounds: int = Field(default=30, ge=0)
    """Rounds of the certificate; 0 computes none."""
    held_out: int = Field(default=HELD_OUT, ge=2)
    """As in training: with a store, L0 and explained variance are of the rows that it leaves out.
    All judge where there are no more."""
    seed: int = 0
    """Of the nulls."""


class NullConfig(Config):
    """Random networks beside the trained one (arXiv 2501.17727v2)."""

    collect: CollectConfig = CollectConfig()
    """Which activations of each network."""
    train: TrainConfig = TrainConfig(seeds=(0,))
    """Which autoencoders."""
    variants: tuple[Network, ...] = Field(default=(
        "trained", "rerandomized", "rerandomized-but-embeddings", "step-0", "control",
    ), min_length=1)  # fmt: skip
    """Networks."""
    latents: int = Field(default=100, ge=1)
    """Latents scored for entropy and AUROC, drawn from those that are active on both sets of
    contexts below."""
    contexts: int = Field(default=256, ge=4)
    """Held-out contexts that latents are scored on, at most."""
    table_contexts: int = Field(default=1024, ge=1)
    """Other contexts, whose activations make the table of token lookup, at most."""
    seed: int = 0
    """Of the random networks and of the draw."""


class DescribeConfig(Config):
    """Descriptions of latents from both ends (arXiv 2501.08319)."""

    model: str = "embedded"
    """The model that the store was collected from."""
    hook: str = ""
    """Empty: the store's only hook."""
    latents: int = Field(default=20, ge=1)
    """How many, drawn from those that are active."""
    chosen: tuple[int, ...] = ()
    """Or exactly these."""
    contexts: int = Field(default=256, ge=4)
    """Contexts of the store's last shards: those of the very last, half of all, judge; the other
    half are searched for what describes. What lies before the shards that the training's `held_out`
    takes was trained on."""
    examples: int = Field(default=5, ge=1)
    """Top contexts of a latent."""
    prompts: int = Field(default=32, ge=1)
    """Prompts of TokenChange."""
    amount: float = Field(default=10.0, gt=0)
    """TokenChange clamps the latent to plus and minus this."""
    steer_tokens: int = Field(default=25, ge=1)
    """Length of steered texts."""
    kl_targets: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(0.25, 0.5), min_length=1)
    """How far steering moves the next-token distribution, both ways."""
    explainer: str = "tokens"
    """tokens (judge-free), or a model backend such as openai."""
    explainer_settings: dict[str, object] = Field(default_factory=dict)
    """Settings of the backend."""
    precision: Precision = "float32"
    """Of the model's products while it is steered."""
    device: str = "cpu"
    """A torch device, of the model and the autoencoder: cpu, cuda, cuda:1."""
    minilm: str = ""
    """Folder of MiniLM's weights for the judge-free scorers; empty: hashed character n-grams."""
    seed: int = 0
    """Of every draw."""


class ToyConfig(Config):
    """The toy model (arXiv 2501.17727v2, section 4 and appendix I)."""

    features: int = Field(default=512, ge=2)
    """Sparse inputs."""
    width: int = Field(default=256, ge=2)
    """Dimensions they are embedded in."""
    decay: float = Field(default=0.99, gt=0, le=1)
    """Feature i is active with probability in proportion to decay ** i."""
    active: float = Field(default=5.0, gt=0)
    """Active features of a point, on average."""
    points: int = Field(default=10_000, ge=10)
    """Data points."""
    epochs: int = Field(default=100, ge=1)
    """Passes."""
    batch: int = Field(default=1024, ge=2)
    """Points in a step."""
    penalties: tuple[float, ...] = Field(default=(0.001, 0.01, 0.1, 1.0, 10.0, 100.0), min_length=1)
    """Weights of L1."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Of Adam."""
    precision: Precision = "float32"
    """Of the products in training."""
    seeds: tuple[int, ...] = Field(default=tuple(range(10)), min_length=1)
    """Of data and weights."""
