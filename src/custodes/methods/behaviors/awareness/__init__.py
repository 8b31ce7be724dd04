"""Whether a model that was tuned to behave in some way can say so (arXiv 2501.11120)."""
