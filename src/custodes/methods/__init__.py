"""Published methods, each an island: a folder with config, method, measure and README.

    behaviors/    what training does to behavior (arXiv 2501.11120)
    decomposition/  networks' parameters as sums of parts (arXiv 2501.14926, 2506.20790)
    mona/         myopic optimization with non-myopic approval (arXiv 2501.13011)
    sae/          sparse autoencoders (arXiv 2501.16615, 2501.17727, 2501.08319)
    similarity/   CAPA and its family (arXiv 2502.04313)
    unlearning/   what relearning brings back (arXiv 2410.08827, 2501.04952)

A method is added or removed by its folder and its line in `METHODS`.
"""

from custodes.config import Registry

__all__ = ["METHODS"]

METHODS = Registry(
    "methods",
    {
        "behaviors": "custodes.methods.behaviors.command:app",
        "decomposition": "custodes.methods.decomposition.command:app",
        "mona": "custodes.methods.mona.command:app",
        "sae": "custodes.methods.sae.command:app",
        "similarity": "custodes.methods.similarity.command:app",
        "unlearning": "custodes.methods.unlearning.command:app",
    },
)
"""name -> typer application of the method."""
