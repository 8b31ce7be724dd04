"""What the ablations run on, and how much of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from custodes.config import Config

__all__ = ["AblationsConfig"]

Size = Literal["tiny", "full"]

_TINY: dict[str, Any] = {
    "rows": 6,
    "layers": (1, 2, 3, 4),
    "model": {"kind": "scripted", "depth": 4, "width": 48},
    "max_tokens": 48,
    "epochs": 3,
    "seeds": 2,
    "public": False,
    "budget": 0.05,
    "resamples": 60,
}


class AblationsConfig(Config):
    """What `custodes reproduce constitutional-classifiers` runs."""

    size: Literal["tiny", "full"] = "full"
    """tiny: a scripted model whose activations are noise by word, and generated rows alone: it
    shows that everything runs, and no more. full: the embedded model, and the public sets."""
    seed: int = 0
    """Of the generated rows, of what is chosen, and of the bootstrap."""
    seeds: int = Field(default=3, ge=1)
    """Heads that are fitted of each arm, with seeds from 0."""
    rows: int = Field(default=32, ge=1)
    """Generated rows a rule of the default constitution."""
    model: dict[str, Any] = Field(default_factory=lambda: {"kind": "embedded", "dtype": "int8"})
    """The language model behind the probe: `kind` and settings."""
    layers: tuple[int, ...] = (2, 4, 8, 12)
    """Blocks whose outputs are kept, first to last."""
    max_tokens: int = Field(default=96, ge=8)
    """Tokens of a text that are read, in training and in measuring."""
    window: int = Field(default=16, ge=1)
    """M, unless M is what is varied."""
    epochs: int = Field(default=4, ge=1)
    """Passes of a head over its rows."""
    public: bool = True
    """Train on and measure on public sets, too; false: on generated rows alone."""
    budget: float = Field(default=0.01, gt=0, lt=1)
    """False refusals at which recall is taken."""
    resamples: int = Field(default=300, ge=20)
    """Of the bootstrap."""

    @classmethod
    def of(cls, size: Size, seed: int) -> AblationsConfig:
        """The settings of a size."""
        return cls(size=size, seed=seed, **(_TINY if size == "tiny" else {}))
