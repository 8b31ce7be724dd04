"""Fixtures of the gateway's tests; what they are made of stands in `server_doubles`."""

from server_doubles import running, upstream

__all__ = ["running", "upstream"]
