"""How the structures of a trajectory are distributed, and how far that is from structures of reference."""
