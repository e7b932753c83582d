"""Halocline: run, prune and partition machine-learned interatomic potentials on any backend."""

__version__ = "0.1.0"
