"""People in the loop: who judges what, with which help, and what their judgments are worth.

    cases.py config.py             what is judged; a queue's settings
    queue.py sampling.py arms.py   claims, ratings, conflicts; which case next; which help
    evidence.py                    verbatim quotes for raters
    routing.py complementarity.py  the AI where it is sure, people elsewhere; what that gains
    reliance.py agreement.py       who follows whom, rightly or not; how far raters agree
    study/                         randomized studies of assistance
    exchange.py training.py        files in and out; labels back to the guard

Implements "Human-AI Complementarity: A Goal for Amplified Oversight" (arXiv 2510.26518). Knows no
HTTP. Names are imported from their modules, so that the command line loads nothing it does not use.
"""
