"""Whether forces are the derivative of an energy, and if they are not, how far from it."""
