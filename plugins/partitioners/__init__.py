"""Partitioners that come in the box."""
