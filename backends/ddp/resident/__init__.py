"""Ranks that own their atoms: they build domains and halos themselves, and hand over atoms that move away."""
