"""Errors of a model beside labels: of energies by atom and by molecule, of forces in length and direction."""
