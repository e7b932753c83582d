"""Kernels that come in the box."""
