"""Pruners that come in the box."""
