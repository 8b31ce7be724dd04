"""custodes builds, serves, attacks and audits the systems that watch AI models."""

__version__ = "0.1.0"
