"""Backbones, their stages, and the potentials made of them."""
