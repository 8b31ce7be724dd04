"""Convert a GGUF file of a Llama-like model once into a folder that loads in a second.

Reading the GGUF itself takes transformers half a minute. The folder holds float32 safetensors:
twice the disk of float16 (538 MB for SmolLM2-135M), but what is computed in float32 is then mapped
from the file, neither cast nor copied, so that any number of worker processes share one copy.
A hash of every file stands in `hashes.json`. Knows one quirk: transformers' GGUF reader drops
SmolLM2's splitting of digits.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from custodes.config import digest
from custodes.models.transformers import quietly

__all__ = ["convert", "is_intact"]

_HASHES = "hashes.json"
_log = logging.getLogger(__name__)


def is_intact(folder: Path) -> bool:
    """Whether every file of a converted folder has the hash that was stored with it."""
    try:
        hashes = json.loads((folder / _HASHES).read_text(encoding="utf-8"))
        return bool(hashes) and all(
            digest(folder / name) == value for name, value in hashes.items()
        )
    except FileNotFoundError:
        return False
    except (OSError, ValueError, AttributeError) as error:
        _log.warning("%s cannot be read and is made anew: %s", folder, error)
        return False


def convert(gguf: Path, folder: Path) -> None:
    """Write the folder, whole or not at all, in place of an old one; the caller holds a lock."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as made:
        part = Path(made) / "part"
        part.mkdir()
        with quietly():
            _write(gguf, part)
        hashes = {path.name: digest(path) for path in sorted(part.iterdir())}
        (part / _HASHES).write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)


def _write(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32
    )
    values = read.config.to_dict()
    # transformers 5 refuses to save what it read from a GGUF: give the weights to a plain twin
    for name in ("quantization_config", "_name_or_path", "transformers_version", "dtype"):
        values.pop(name, None)
    twin = type(read)(type(read.config)(**values))
    twin.load_state_dict(read.state_dict(), strict=False)
    twin.tie_weights()
    twin.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    _split_digits(tokenizer, gguf)
    tokenizer.save_pretrained(folder)


def _split_digits(tokenizer: Any, gguf: Path) -> None:
    """Put back the splitting of digits that the model was trained with (GGUF `pre` = smollm)."""
    from gguf import GGUFReader
    from tokenizers.pre_tokenizers import Digits, Sequence

    field = GGUFReader(gguf).fields.get("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        backend = tokenizer.backend_tokenizer
        backend.pre_tokenizer = Sequence([Digits(individual_digits=True), backend.pre_tokenizer])
