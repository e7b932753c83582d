"""Small backbones, one for each kind of thing that a stage may declare."""

from kinds.capped import AtBothEnds, ByBoth, ByEither, ByReceiver, BySender, WithoutRadius
from kinds.dihedrals import Dihedrals
from kinds.edges import Angles, SoftRanks, Walk
from kinds.operator import OperatorModel
from kinds.several import SeveralLists, TwoRadii
from kinds.vectors import VectorModel

_KINDS = (
    OperatorModel,
    VectorModel,
    ByReceiver,
    BySender,
    ByEither,
    ByBoth,
    AtBothEnds,
    WithoutRadius,
    SeveralLists,
    TwoRadii,
    Angles,
    Dihedrals,
    Walk,
    SoftRanks,
)

#: By name; every test of `test_kinds` runs over all of them.
KINDS = {kind.name: kind for kind in _KINDS}

__all__ = ["KINDS"]
