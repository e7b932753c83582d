"""Compiled programs kept for the next time, under everything that they depend on."""

from halocline.artefacts.store import cached

__all__ = ["cached"]
