"""Randomized studies of assistance: protocol, trials, analysis, power, simulated raters.

protocol.py    what is fixed before the first trial, and its hash
trials.py      one judgment of one person, with what was shown
analysis.py    accuracy by arm, reliance, mixed logit, practice, calibration
simulated.py   raters out of a formula: for power and for tests, never for a finding
report.py      all of it as a page
"""
