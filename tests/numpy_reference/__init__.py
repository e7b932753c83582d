"""Slow, readable float64 NumPy versions of what can go wrong quietly."""
