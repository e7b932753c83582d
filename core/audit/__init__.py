"""How good a model is: beside labels, beside a trajectory of reference, over a set of runs, and of crystals."""
