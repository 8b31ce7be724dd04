"""Bridges to other people's tools, each importable alone; the tools are extras."""
