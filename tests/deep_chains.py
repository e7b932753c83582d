"""A model of several hops, and atoms in a row, most of which are not in the halo of a rank."""

import functools

from ase import Atoms
from ase.build import molecule

from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.potential.potential import Potential


@functools.cache
def deep():
    """SchNet as its example has it."""
    backbone = build_backbone("schnet", registry().load("backbone", "schnet").example_config(), seed=1)
    return Potential(backbone, dict.fromkeys(backbone.species, -1.0), {})


def chain(length=24):
    """So many molecules of water, 2.9 Å apart."""
    atoms = Atoms()
    for place in range(length):
        one = molecule("H2O")
        one.positions += [2.9 * place, 0.4 * (place % 3), 0.0]
        atoms += one
    return atoms
