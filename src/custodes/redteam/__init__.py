"""Attack a model or a guard, judge the outcome, and harden the guard with what got through.

Knows guards, models and data; nothing of HTTP but as a client.
"""

from custodes.redteam.attack import ATTACKS, Attack, AttackConfig, Strategy, Tools, make_attack
from custodes.redteam.campaign import Campaign, CampaignConfig, run_campaign
from custodes.redteam.conclude import conclude
from custodes.redteam.fight import Terms, fight
from custodes.redteam.judges import JUDGES, Case, Grade, Judge, JudgeConfig, make_judge
from custodes.redteam.probes import Probe, Seen, user
from custodes.redteam.question_files import read_questions
from custodes.redteam.questions import Fact, Question, QuestionSet
from custodes.redteam.records import Attempt, Fight
from custodes.redteam.targets import TARGETS, Target, TargetConfig, make_target

__all__ = [
    "ATTACKS",
    "JUDGES",
    "TARGETS",
    "Attack",
    "AttackConfig",
    "Attempt",
    "Campaign",
    "CampaignConfig",
    "Case",
    "Fact",
    "Fight",
    "Grade",
    "Judge",
    "JudgeConfig",
    "Probe",
    "Question",
    "QuestionSet",
    "Seen",
    "Strategy",
    "Target",
    "TargetConfig",
    "Terms",
    "Tools",
    "conclude",
    "fight",
    "make_attack",
    "make_judge",
    "make_target",
    "read_questions",
    "run_campaign",
    "user",
]
