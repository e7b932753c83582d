"""Operators in compiled C++: several steps of a model in one pass over its edges, and their derivatives."""
