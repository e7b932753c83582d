"""What a structure looks like: its bonds, molecules, angles and hydrogen bonds."""
