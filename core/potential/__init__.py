"""Potentials: backbones with reference energies and cards, loaded, evaluated and handed to ASE."""
