"""Executors that come in the box."""
