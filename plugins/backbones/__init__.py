"""Backbones that come in the box."""
