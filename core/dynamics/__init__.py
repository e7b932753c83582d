"""Molecular dynamics and relaxation."""
