"""Whole steps of this package and of its peers, side by side: same structures, same weights, in turns.

Each contender runs in an interpreter of its own (`peers.environments` makes those of the peers) and is driven
through its own ASE calculator by the scripts in ``steps``, which need nothing of ours. `python -m peers` is the
harness.
"""
