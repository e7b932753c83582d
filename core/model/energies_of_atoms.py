"""Models whose energy is told of a whole structure, and the start of one whose energies are told of atoms."""

from __future__ import annotations

from halocline.errors import BackboneError
from halocline.model.backbone import Backbone, Output
from halocline.model.energies_only import remade


def with_energies_of_atoms(backbone: Backbone) -> Backbone:
    """A new backbone of the same layers with an energy of each atom and forces that follow from it.

    It gives other energies than the one that it is made of, and is to be fitted before it is used.

    Args:
        backbone: with a pooled head; stays as it is.

    Raises:
        BackboneError: its energies are those of atoms already, or it does not say how they become so, or not
            rightly.
    """
    if Output.POOLED not in backbone.outputs:
        raise BackboneError(
            f"The energy of this {backbone.name!r} is a sum over atoms already; leave it as it is."
        )
    config, weights = backbone.energies_of_atoms_config(), backbone.energies_of_atoms_weights()
    return remade(backbone, config, weights, "energies_of_atoms")
