"""Does a gateway leak? A suite for any gateway's address, from outside, over real connections.

The suite plays the upstream itself (`ScriptedUpstream`); the gateway under test must have it as
its upstream. `specimens` says what is said and how much of it may be shown, `cells` which
requests are made, `replies` reads what came, `suite` counts. Knows nothing of how a gateway works.
"""

from custodes.server.conformance.cells import KINDS, REPLIES, ROUTES, Cell, cells
from custodes.server.conformance.specimens import (
    Specimen,
    Specimens,
    as_guard_judges,
    marked,
)
from custodes.server.conformance.suite import Gateway, Result, asking, run

__all__ = [
    "KINDS",
    "REPLIES",
    "ROUTES",
    "Cell",
    "Gateway",
    "Result",
    "Specimen",
    "Specimens",
    "as_guard_judges",
    "asking",
    "cells",
    "marked",
    "run",
]
