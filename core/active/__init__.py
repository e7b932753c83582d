"""Active learning: which structures to label next, and the loop around training."""
