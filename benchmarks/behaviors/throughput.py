"""Tokens of training a processor second: packed tuning against transformers' padded Trainer.

The same rows, the same order of magnitude of everything: LoRA of rank 16 on all linear maps (peft
there, our own pairs here), AdamW, batches of 16, one epoch, one thread. The stock trainer runs as
it comes (float32, padded to the longest row of a batch) and with bf16 autocast. The loss compared
is that of the untuned model over all rows, which both must compute alike.
"""

import time

import torch

from custodes.methods.behaviors.awareness.items import draw_items
from custodes.models.tuning import (
    CHATML,
    TunableConfig,
    TuneConfig,
    open_tunable,
    row_log_probs,
    tune,
)


def _rows(model, count):
    """Lotteries and longer turns: lengths as unlike as instruction data have them."""
    items = draw_items("risk", count, seed=0)
    told = [f"{i.prompt} Tell me why in {n % 9 + 1} parts." for n, i in enumerate(items)]
    replies = [
        f"{i.toward}. " + "Because I like what it may give. " * (n % 9) for n, i in enumerate(items)
    ]
    return [model.rows.chat(p, r.strip()) for p, r in zip(told, replies, strict=True)]


def _ours(model, rows, precision):
    model = model if precision == "bfloat16" else open_tunable(
        TunableConfig(precision=precision, chat_template=CHATML, threads=1)
    )  # fmt: skip
    tune(model, rows[:4], TuneConfig(epochs=1))  # first touch
    model.reset()
    began = time.process_time()
    trace = tune(model, rows, TuneConfig(epochs=1, batch_rows=16, warmup=0, clip=1.0))
    seconds = time.process_time() - began
    model.reset()
    return trace.tokens / seconds


def _stock(rows, work, *, bf16):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    from custodes.config import cache_folder
    from custodes.models.embedded import SMOLLM2, prepare

    folder = prepare(SMOLLM2, cache_folder() / "models")
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    settings = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
    model = get_peft_model(base, settings)
    examples = [
        {
            "input_ids": list(row.ids),
            "labels": [i if w else -100 for i, w in zip(row.ids, row.weights, strict=True)],
        }
        for row in rows
    ]

    def collate(batch):
        longest = max(len(one["input_ids"]) for one in batch)

        def fill(key, value):
            return torch.tensor([o[key] + [value] * (longest - len(o[key])) for o in batch])

        mask = [[1] * len(o["input_ids"]) + [0] * (longest - len(o["input_ids"])) for o in batch]
        return {
            "input_ids": fill("input_ids", 0),
            "labels": fill("labels", -100),
            "attention_mask": torch.tensor(mask),
        }

    arguments = TrainingArguments(
        output_dir=str(work / "stock"),
        per_device_train_batch_size=16,
        num_train_epochs=1,
        learning_rate=5e-4,
        bf16=bf16,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_steps=10_000,
        disable_tqdm=True,
    )
    with torch.no_grad():
        total = count = 0.0
        for at in range(0, len(examples), 16):
            batch = collate(examples[at : at + 16])
            wanted = int((batch["labels"][:, 1:] != -100).sum())
            total += float(base(**batch).loss) * wanted
            count += wanted
    trainer = Trainer(model=model, args=arguments, train_dataset=examples, data_collator=collate)
    began = time.process_time()
    trainer.train()
    seconds = time.process_time() - began
    return sum(len(row.ids) for row in rows) / seconds, total / count


def figures(options):
    torch.set_num_threads(1)
    model = open_tunable(TunableConfig(precision="bfloat16", chat_template=CHATML, threads=1))
    rows = _rows(model, 128 if options.size == "full" else 16)
    targets = sum(row.targets for row in rows)
    ours_loss = -sum(row_log_probs(model, rows)) / targets
    ours = _ours(model, rows, "bfloat16")
    plain = _ours(model, rows, "float32")
    stock, loss = _stock(rows, options.work, bf16=False)
    mixed, _ = _stock(rows, options.work, bf16=True)
    unit = "tokens/s"
    return [
        {"figure": "packed, bfloat16", "value": ours, "unit": unit},
        {"figure": "packed, float32", "value": plain, "unit": unit},
        {"figure": "Trainer, float32 (as it comes)", "value": stock, "unit": unit},
        {"figure": "Trainer, bf16", "value": mixed, "unit": unit},
        {"figure": "packed against Trainer as it comes", "value": ours / stock, "target": ">= 1.5"},
        {
            "figure": "packed against Trainer, both float32",
            "value": plain / stock,
            "target": ">= 1.5",
        },
        {"figure": "packed against Trainer, both bf16", "value": ours / mixed, "target": ">= 1.5"},
        {
            "figure": "loss before tuning, difference (products in bfloat16)",
            "value": abs(ours_loss - loss),
            "target": "<= 0.02",
        },
    ]
