"""Scorers and policy -> verdicts on a stream of text.

The safety-critical core: pure logic, no HTTP, no I/O but for `folder` (reading and writing a
guard). Fails closed.
"""

from custodes.classifiers import Calibration
from custodes.guard.cascade import Cascade, CascadeStream, GuardPoint, Stage
from custodes.guard.folder import (
    Manifest,
    find_guard,
    is_shipped,
    load_guard,
    read_manifest,
    save_guard,
    verify_guard,
)
from custodes.guard.guard import Edition, Guard, mode_of
from custodes.guard.lane import Watch
from custodes.guard.policy import Policy, Response, RulePolicy
from custodes.guard.session import Decision, Session
from custodes.guard.watched import watched_reply

__all__ = [
    "Calibration",
    "Cascade",
    "CascadeStream",
    "Decision",
    "Edition",
    "Guard",
    "GuardPoint",
    "Manifest",
    "Policy",
    "Response",
    "RulePolicy",
    "Session",
    "Stage",
    "Watch",
    "find_guard",
    "is_shipped",
    "load_guard",
    "mode_of",
    "read_manifest",
    "save_guard",
    "verify_guard",
    "watched_reply",
]
