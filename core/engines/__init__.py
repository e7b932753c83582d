"""Potentials in engines that are written in Python; imports none of them."""
