"""Precision policies held against float64: what each costs, and what it loses."""

from halocline.bench.precision.campaign import PolicyRow, default_policies, measure_policies

__all__ = ["PolicyRow", "default_policies", "measure_policies"]
