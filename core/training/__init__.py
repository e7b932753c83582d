"""Training on energies and forces."""
