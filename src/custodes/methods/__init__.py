"""Published methods, each an island: a folder with config, method, measure and README.

    similarity/   CAPA and its family (arXiv 2502.04313)

A method is added or removed by its folder and its line in `METHODS`.
"""

from custodes.config import Registry

__all__ = ["METHODS"]

METHODS = Registry(
    "methods",
    {
        "similarity": "custodes.methods.similarity.command:app",
    },
)
"""name -> typer application of the method."""
