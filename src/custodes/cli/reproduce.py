"""`custodes reproduce NAME`: a paper's figures, computed anew, beside what it published."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from custodes.config import Registry

__all__ = ["REPRODUCTIONS", "reproduce"]

REPRODUCTIONS = Registry(
    "reproductions",
    {
        "apd": "custodes.methods.decomposition.reproduce:reproduce_apd",
        "capa": "custodes.methods.similarity.reproduce:reproduce",
        "constitutional-classifiers": "custodes.guard.ablations:reproduce",
        "human-ai-complementarity": "custodes.review.reproduce:reproduce",
        "mona": "custodes.methods.mona.reproduce:reproduce",
        "relearning": "custodes.methods.unlearning.reproduce:reproduce",
        "reward-hacking-documents": "custodes.methods.behaviors.documents.reproduce:reproduce",
        "sae-descriptions": "custodes.methods.sae.reproduce:reproduce_descriptions",
        "sae-random": "custodes.methods.sae.reproduce:reproduce_random",
        "sae-seeds": "custodes.methods.sae.reproduce:reproduce_seeds",
        "self-awareness": "custodes.methods.behaviors.reproduce:reproduce_awareness",
        "spd": "custodes.methods.decomposition.reproduce:reproduce_spd",
    },
)
"""name -> function of size, seed and run folder; it returns the path of its report."""


def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            help="Which: apd, capa, constitutional-classifiers, human-ai-complementarity, mona, "
            "relearning, reward-hacking-documents, sae-descriptions, sae-random, sae-seeds, "
            "self-awareness or spd."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder; default: out/reproduce/NAME.")
    ] = None,
    size: Annotated[str, typer.Option(help="tiny or full.")] = "tiny",
    seed: Annotated[int, typer.Option(help="Of whatever is random.")] = 0,
) -> None:
    """Compute the figures of a published method anew; writes report.html and report.json.

    apd: Interpretability in Parameter Space (arXiv 2501.14926).
    capa: Great Models Think Alike and this Undermines AI Oversight (arXiv 2502.04313).
    constitutional-classifiers: ablations of the guard (arXiv 2501.18837, 2601.04603).
    human-ai-complementarity: confidence routing on real votes (arXiv 2510.26518).
    mona: Myopic Optimization with Non-myopic Approval (arXiv 2501.13011).
    relearning: what comes back after unlearning (arXiv 2410.08827).
    reward-hacking-documents: Training on Documents about Reward Hacking (Anthropic, January 2025).
    sae-descriptions: descriptions of features from both ends (arXiv 2501.08319).
    sae-random: sparse autoencoders on random networks, the toy model (arXiv 2501.17727).
    sae-seeds: features that seeds share (arXiv 2501.16615).
    self-awareness: Tell Me About Yourself (arXiv 2501.11120).
    spd: Stochastic Parameter Decomposition (arXiv 2506.20790).
    """
    from custodes.cli.sources import check_place
    from custodes.errors import ConfigError

    if size not in ("tiny", "full"):
        raise ConfigError(f"--size: got {size!r}, expected tiny or full")
    run = REPRODUCTIONS.load(name)
    speaks = "say" in inspect.signature(run).parameters
    told = {"say": partial(typer.echo, err=True)} if speaks else {}
    folder = out or Path("out") / "reproduce" / name
    check_place(folder)
    typer.echo(str(run(size, seed, folder, **told)))
