"""A trajectory as two models see it."""
