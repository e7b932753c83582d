"""The executor interface."""
