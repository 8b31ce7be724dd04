"""MONA."""
