"""Structures as neighbour graphs."""
