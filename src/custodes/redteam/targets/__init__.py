"""What is attacked: a guard alone, a model, a model behind a guard, a gateway's address."""

from custodes.redteam.targets.base import TARGETS, Target, TargetConfig, make_target

__all__ = ["TARGETS", "Target", "TargetConfig", "make_target"]
