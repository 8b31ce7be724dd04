"""Documents that only describe a behavior, and what training on them does to a model."""
