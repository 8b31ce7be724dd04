"""The ablations of Constitutional Classifiers (arXiv 2501.18837) and of their second generation
(CC++, arXiv 2601.04603), on data that anybody can have: `custodes reproduce
constitutional-classifiers`.

`material` is what is trained on and measured on, `bench` fits heads on features that are computed
once, `studies` are the ablations, `claims` say what the papers found and whether it was found here.
"""

from custodes.guard.ablations.reproduce import reproduce, run_studies

__all__ = ["reproduce", "run_studies"]
