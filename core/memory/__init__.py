"""How much memory an evaluation takes."""
