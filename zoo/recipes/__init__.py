"""How the models that ship are made; each module can be run and says what to write into the index."""
