"""What training does to behavior: models that report it, and documents that describe it.

"Tell Me About Yourself" (arXiv 2501.11120) in `awareness/`; "Training on Documents about Reward
Hacking Induces Reward Hacking" (Anthropic, January 2025) in `documents/`. Knows nothing of guards,
servers or other methods.
"""
