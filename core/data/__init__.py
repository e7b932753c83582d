"""Labelled structures: their files, labels, and what is wrong with them."""
