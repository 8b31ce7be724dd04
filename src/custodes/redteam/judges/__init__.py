"""Who says whether an attempt succeeded: facts, a model, people."""

from custodes.redteam.judges.base import JUDGES, Case, Grade, Judge, JudgeConfig, make_judge

__all__ = ["JUDGES", "Case", "Grade", "Judge", "JudgeConfig", "make_judge"]
