"""London dispersion as a term that is added to networks."""
