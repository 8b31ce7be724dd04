"""`custodes settings`: what `--set` and a file of settings may say, command by command."""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer

from custodes.config import Registry, manual

__all__ = ["SETTINGS", "settings"]

_METHODS = "custodes.methods"
_AWARENESS = f"{_METHODS}.behaviors.config:AwarenessConfig"
_DOCUMENTS = f"{_METHODS}.behaviors.documents.config:DocumentsConfig"
_STUDY = "custodes.review.study.simulated:SimulatedConfig"

SETTINGS = Registry(
    "settings",
    {
        "synth": "custodes.synthesis:SynthesisConfig",
        "train": "custodes.guard.build:GuardConfig",
        "attack": "custodes.redteam.campaign:CampaignConfig",
        "serve": "custodes.server.config:GatewayConfig",
        "review queue": "custodes.review.config:QueueConfig",
        "review study simulate": _STUDY,
        "review study power": _STUDY,
        "method behaviors report": _AWARENESS,
        "method behaviors tune": _AWARENESS,
        "method behaviors documents write": _DOCUMENTS,
        "method behaviors documents run": _DOCUMENTS,
        "method behaviors documents ask": _DOCUMENTS,
        "method decomposition apd": f"{_METHODS}.decomposition.config:APDConfig",
        "method decomposition spd": f"{_METHODS}.decomposition.config:SPDConfig",
        "method decomposition sweep": f"{_METHODS}.decomposition.config:SweepConfig",
        "method mona gridworld": f"{_METHODS}.mona.config:GridworldConfig",
        "method mona study": f"{_METHODS}.mona.config:StudyConfig",
        "method mona show": f"{_METHODS}.mona.config:BoardConfig",
        "method mona write-tests": f"{_METHODS}.mona.config:GenerationConfig",
        "method sae collect": f"{_METHODS}.sae.config:CollectConfig",
        "method sae train": f"{_METHODS}.sae.config:TrainConfig",
        "method sae compare": f"{_METHODS}.sae.config:CompareConfig",
        "method sae describe": f"{_METHODS}.sae.config:DescribeConfig",
        "method sae null": f"{_METHODS}.sae.config:NullConfig",
        "method sae toy": f"{_METHODS}.sae.config:ToyConfig",
        "method similarity matrix": f"{_METHODS}.similarity.config:MatrixConfig",
        "method similarity panel": f"{_METHODS}.similarity.config:PanelConfig",
        "method similarity weak-to-strong": f"{_METHODS}.similarity.config:WeakToStrongConfig",
        "method similarity affinity": f"{_METHODS}.similarity.config:AffinityConfig",
        "method unlearning study": f"{_METHODS}.unlearning.config:StudyConfig",
    },
)
"""A command's words -> the class of its settings."""


def settings(
    command: Annotated[
        list[str] | None,
        typer.Argument(help="A command, such as: method mona study. None lists the commands."),
    ] = None,
) -> None:
    """List what --set and --config may say for a command: names, defaults, meanings.

    A name with dots is of a section: `loan.penalty=2`, or in a file `loan: {penalty: 2}`.
    """
    if not command:
        for name in SETTINGS.names():
            typer.echo(f"custodes settings {name}")
        return
    for one in manual(SETTINGS.load(" ".join(command))):
        typer.echo(f"{one.name}: {one.default}".rstrip())
        for line in textwrap.wrap(one.meaning, 76):
            typer.echo(f"    {line}")
