"""What the issue promises: section -> rows of figure, target, unit.

A row that no section measures is written as not measured, so that it cannot be forgotten.
"""

from __future__ import annotations

__all__ = ["PROMISED"]

PERMUTED = ("null: shared with itself permuted, least of all settings", "== 1", "")

PROMISED: dict[str, list[tuple[str, str, str]]] = {
    "training": [
        ("tokens a CPU-second, ours", "", "tokens/s"),
        ("ours over sae-lens at equal final FVU", ">= 3", ""),
        ("ours over eai-sparsify at equal final FVU", ">= 1.3", ""),
    ],
    "seeds-at-once": [
        ("time a seed, 4 seeds over one alone", "< 1.15", ""),
        ("time a seed, sparsify's runner over ours", "> 1", ""),
        ("time a seed, SAELens' runner over ours", "> 1", ""),
    ],
    "matching": [
        *((f"{size}: relative difference from the dense optimum", "<= 1e-6", "")
          for size in (2048, 4096, 8192, 16_384)),
        *((f"{size}: certified", "== 1", "") for size in (2048, 4096, 8192, 16_384)),
    ],
    "matching-at-scale": [
        ("131072: relative gap to the bound", "", ""),
        ("131072: processor time", "<= 30 CPU-min", "CPU-min"),
        ("131072: peak memory", "<= 4 GiB", "GiB"),
    ],
    "formats": [
        ("saelens: written and read by us, max difference", "== 0", ""),
        ("sparsify: written and read by us, max difference", "== 0", ""),
        ("saelens: read by sae-lens and back, max difference", "== 0", ""),
        ("sparsify: read by eai-sparsify and back, max difference", "== 0", ""),
    ],
    "toy": [
        ("MMCS peaks inside the range of penalties, share of seeds", "== 1", ""),
        ("share of seeds in which a Gaussian needs a higher L0 at equal variance", "== 1", ""),
    ],
    "collection": [
        ("ours, processor time", "", "tokens/CPU-s"),
        ("ours over SAELens' store, same layer", ">= 1.5", ""),
        ("ours over SAELens' store, both compiled", "", ""),
    ],
    "seeds": [
        ("shared: rise with size", "< 0", ""),
        ("shared: rise with k", "< 0", ""),
        ("shared: rise with tokens", "> 0", ""),
        *((f"shared, topk F=2304 k=32, layer {layer}", "", "") for layer in (6, 8, 9)),
        PERMUTED,
    ],
    "kinds": [
        ("shared: relu above topk", "> 0", ""),
        ("shared: gated above topk", "> 0", ""),
        PERMUTED,
    ],
    "matching-trained": [
        *((f"{part}: {name}", target, unit)
          for part in ("decoders", "encoders")
          for name, target, unit in (("certified", "== 1", ""),
                                     ("relative gap to the bound", "", ""),
                                     ("processor time", "", "CPU-min"),
                                     ("peak memory", "<= 4 GiB", "GiB"))),
        ("null: itself permuted: shared", "== 1", ""),
    ],
    "networks": [
        ("explained variance: control over the least other", "< 0.5", ""),
        ("fuzzing AUROC: re-randomised less the lower end of trained's interval", ">= 0", ""),
        ("entropy: rise with depth, trained", "> 0", ""),
        ("entropy: rise with depth, re-randomised", "<= 0", ""),
    ],
    "control": [
        ("explained variance: control-matched over the least other", "< 0.5", ""),
    ],
    "descriptions": [
        ("latents", ">= 300", ""),
        ("input: max-act less the better output-centric method", "> 0", ""),
        ("output: the better output-centric method less max-act", ">= 0", ""),
        *((f"ensembles: the better one less the best single method, {score}: upper end "
           "(best or tied)", ">= 0", "") for score in ("input", "output")),
    ],
}  # fmt: skip
