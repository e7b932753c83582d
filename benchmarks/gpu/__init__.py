"""Checks and timings on one GPU, for which the CPU can stand in."""
