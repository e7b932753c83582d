"""How long a step takes on many ranks, and what makes it quickest."""
