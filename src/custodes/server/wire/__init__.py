"""Wire formats: pure translation, no I/O.

Each module turns the JSON of one format into what the guard judges, and what the guard decided
back into that format. None knows the guard, HTTP or another format.
"""
