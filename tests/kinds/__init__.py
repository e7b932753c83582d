"""Small backbones, one for each kind of thing that a stage may declare."""

from kinds.vectors import VectorModel

#: By name; every test of `test_kinds` runs over all of them.
KINDS = {kind.name: kind for kind in (VectorModel,)}

__all__ = ["KINDS"]
