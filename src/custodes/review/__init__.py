"""People in the loop: who judges what, with which help, and what their judgments are worth.

    cases.py config.py               what is judged; a queue's settings
    queue.py lookup.py settling.py   the desk: claims, ratings, conflicts; reading; when it is done
    holding.py notes.py              cases in raters' hands; notes at rest
    sampling.py arms.py              which case next; which help
    evidence.py help.py views.py     verbatim quotes; what an arm shows; a guard's view of cases
    routing.py complementarity.py    the AI where it is sure, people elsewhere; what that gains
    claims.py reproduce.py routes.py the same on public votes, and on one's own files
    trials.py reliance.py study/     who follows whom, rightly or not; randomized studies
    agreement.py overview.py         how far raters agree
    exchange.py training.py          files in and out; labels as rows
    retraining.py                    the guard trained again with them

Implements "Human-AI Complementarity: A Goal for Amplified Oversight" (arXiv 2510.26518). Knows no
HTTP. Names are imported from their modules, so that the command line loads nothing it does not use.
"""
