"""What training does to behavior: models that report it, and documents that describe it.

"Tell Me About Yourself" (arXiv 2501.11120) in `awareness/`. Knows nothing of guards, servers or
other methods.
"""
