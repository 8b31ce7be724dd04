"""What runs in a peer's own environment: python peers.py TASK PEER ... (no custodes there).

    trip    saelens|sparsify  IN OUT    load the autoencoder in IN, run it on IN/inputs.safetensors,
                                        save it in OUT with the peer's own code, and its outputs
    fit     saelens|sparsify  SETTINGS  train by the peer's own trainer on rows of a file
    collect saelens           SETTINGS  activations through SAELens' ActivationsStore

SETTINGS is a JSON object; `fit` and `collect` print one as their last line. The environment is one
of its own: CUSTODES_PEER_SAELENS and CUSTODES_PEER_SPARSIFY name the Python of
`pip install sae-lens==6.54.12` and of `pip install eai-sparsify==1.3.3`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


def trip(peer: str, source: Path, target: Path) -> None:
    x = load_file(source / "inputs.safetensors")["x"]
    if peer == "saelens":
        from sae_lens import SAE

        coder = SAE.load_from_disk(source, device="cpu")
        with torch.no_grad():
            outputs = {"acts": coder.encode(x), "y": coder(x)}
        coder.save_model(target)
    else:
        from sparsify import SparseCoder

        coder = SparseCoder.load_from_disk(source)
        with torch.no_grad():
            values, latents, _ = coder.encode(x)
            acts = torch.zeros(len(x), coder.num_latents).scatter_(1, latents, values)
            outputs = {"acts": acts, "y": coder.decode(values, latents)}
        coder.save_to_disk(target)
    save_file({name: one.contiguous() for name, one in outputs.items()},
              target / "outputs.safetensors")  # fmt: skip


def fit(peer: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Processor time of training, and the share of variance left on the held-out rows, by seed."""
    rows = load_file(settings["rows"])["x"]
    train, held = rows[: -settings["held_out"]], rows[-settings["held_out"] :]
    train = train[: len(train) // settings["batch"] * settings["batch"]]
    trained, seconds = (_fit_saelens if peer == "saelens" else _fit_sparsify)(train, settings)
    variance = float((held - held.mean(0)).double().square().sum())
    left = []
    for reconstruct in trained:
        with torch.no_grad():
            error = sum(float((x - reconstruct(x)).double().square().sum())
                        for x in held.split(settings["batch"]))  # fmt: skip
        left.append(error / variance)
    return {"seconds": seconds, "tokens": len(train), "fvu": left}


Fitted = tuple[list[Callable[[torch.Tensor], torch.Tensor]], float]


def _fit_saelens(train: torch.Tensor, settings: dict[str, Any]) -> Fitted:
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.multi_sae_trainer import MultiSAETrainer
    from sae_lens.training.sae_trainer import SAETrainer

    steps = len(train) // settings["batch"]
    saes = {}
    for seed in settings["seeds"]:
        torch.manual_seed(seed)
        config = TopKTrainingSAEConfig(
            d_in=train.shape[1], d_sae=settings["latents"], k=settings["k"]
        )
        saes[f"seed{seed}"] = TopKTrainingSAE(config)
    config = SAETrainerConfig(
        total_training_samples=len(train), train_batch_size_samples=settings["batch"],
        lr=settings["learning_rate"], lr_end=settings["learning_rate"] / 10,
        lr_warm_up_steps=settings["warm_up"], lr_decay_steps=int(settings["decay"] * steps),
        logger=LoggingConfig(log_to_wandb=False), autocast=settings.get("autocast", False),
    )  # fmt: skip
    batches = iter(train.split(settings["batch"]))
    began = time.process_time()
    if len(saes) == 1:
        SAETrainer(config, next(iter(saes.values())), batches).fit()
    else:
        each = ({"x": batch} for batch in batches)
        MultiSAETrainer(config, saes, dict.fromkeys(saes, "x"), each).fit()
    return list(saes.values()), time.process_time() - began


def _fit_sparsify(train: torch.Tensor, settings: dict[str, Any]) -> Fitted:
    """Their trainer reads a language model; here one whose activations are the rows themselves."""
    from datasets import Dataset
    from sparsify import SparseCoderConfig, TrainConfig, Trainer
    from transformers import PretrainedConfig, PreTrainedModel

    class Rows(PreTrainedModel):
        config_class = PretrainedConfig

        def __init__(self) -> None:
            super().__init__(PretrainedConfig())
            self.rows = torch.nn.Embedding.from_pretrained(train)

        @property
        def dummy_inputs(self) -> dict[str, torch.Tensor]:
            return {"input_ids": torch.zeros(1, 1, dtype=torch.long)}

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.rows(input_ids)

    length = 64
    ids = torch.arange(len(train)).view(-1, length)
    steps = len(train) // settings["batch"]
    config = TrainConfig(
        SparseCoderConfig(num_latents=settings["latents"], k=settings["k"]),
        batch_size=settings["batch"] // length, hookpoints=["rows"],
        init_seeds=settings["seeds"], optimizer=settings["optimizer"],
        lr=settings["learning_rate"] if settings["optimizer"] == "adam" else None,
        lr_warmup_steps=min(settings["warm_up"], steps), auxk_alpha=1 / 32,
        log_to_wandb=False, save_every=10**9, save_dir=settings["folder"],
    )  # fmt: skip
    trainer = Trainer(config, Dataset.from_dict({"input_ids": ids}).with_format("torch"), Rows())
    began = time.process_time()
    trainer.fit()
    seconds = time.process_time() - began
    for optimizer in trainer.optimizers:
        if hasattr(optimizer, "eval"):  # schedule-free: the average is what is used
            optimizer.eval()

    def reconstructs(coder: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: coder(x).sae_out

    return [reconstructs(one) for one in trainer.saes.values()], seconds


def collect(peer: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Activations through the store's own iterator, which mixes them; `peer` is saelens.

    Tokens are those that the model read, some of which the buffer still holds at the end. `first`:
    seconds until the first batch, with the compilation, which is as its training runner compiles.
    """
    from datasets import Dataset
    from sae_lens.load_model import load_model
    from sae_lens.training.activations_store import ActivationsStore

    hook, context = settings["hook"], settings["context"]
    model = load_model("AutoModelForCausalLM", settings["model"], "cpu", hook_names=[hook])
    width = model.model.config.hidden_size
    if settings["compile"]:
        model.run_with_cache = torch.compile(model.run_with_cache)
    lines = Path(settings["texts"]).read_text(encoding="utf-8").split("\n")
    texts = [json.loads(line) for line in lines if line]
    with torch.no_grad():
        store = ActivationsStore(
            model=model, dataset=Dataset.from_list(texts), streaming=False, hook_name=hook,
            hook_head_index=None, context_size=context, d_in=width, n_batches_in_buffer=16,
            total_training_tokens=settings["tokens"], train_batch_size_tokens=8 * context,
            store_batch_size_prompts=settings["prompts"], prepend_bos=False, device="cpu",
            normalize_activations="none", dtype="float32", autocast_lm=settings["autocast"],
        )  # fmt: skip
        read, get = [], store.get_activations

        def counted(ids: torch.Tensor) -> torch.Tensor:
            read.append(ids.numel())
            return get(ids)

        store.get_activations = counted
        batches = iter(store)
        began = cpu_seconds()
        next(batches)
        first, of_first = cpu_seconds() - began, sum(read)
        while sum(read) < of_first + settings["tokens"]:
            next(batches)
    seconds = cpu_seconds() - began - first
    return {"tokens": sum(read) - of_first, "seconds": seconds, "first": first}


def cpu_seconds() -> float:
    """Of this process and of the compilers that it ran."""
    return sum(os.times()[:4])


def main() -> None:
    torch.set_num_threads(1)
    task, peer, *rest = sys.argv[1:]
    if task == "trip":
        trip(peer, Path(rest[0]), Path(rest[1]))
    else:
        print("\n" + json.dumps({"fit": fit, "collect": collect}[task](peer, json.loads(rest[0]))))


if __name__ == "__main__":
    main()
