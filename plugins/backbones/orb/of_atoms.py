"""A model whose energy is one of each atom, made of one whose energy is that of the mean of features."""

from __future__ import annotations

from halocline.model.build import build_backbone
from halocline.plugins.backbones.orb.backbone import ORB
from halocline.potential.potential import Potential

#: What the new readout takes over from the head, and the head from the old readout.
_OF_HEAD = ("energy.", "scale", "shift")


def energies_of_atoms(potential: Potential) -> Potential:
    """The start of a fit: the network that gave an energy for the mean of features now does for each atom.

    The two are equal where all atoms have the same features, and else are not: what this returns is to be fitted
    before it is used. Forces are the derivative, also where they were direct, and heads for direct forces and
    stress are left behind. Nuclei repel each other in full, of which conservative models had the mean over atoms.

    Args:
        potential: of an ORB; it stays as it is.

    Returns:
        A model that can be fitted, divided in one run, and exported by what takes its neighbour rule.

    Raises:
        TypeError: it is another model.
    """
    backbone = potential.backbone
    if not isinstance(backbone, ORB):
        raise TypeError(f"Only ORBs have an energy of the mean of features, not {backbone.name!r}.")
    config = backbone.config | {"energy": "atoms", "forces": "conservative", "stress": False}
    weights = {}
    for name, tensor in backbone.state_dict().items():
        if name.startswith("mean.") and name.removeprefix("mean.").startswith(_OF_HEAD):
            weights["readout." + name.removeprefix("mean.")] = tensor
        elif not name.startswith(("mean.", "readout.force")):
            weights[name] = tensor
    made = build_backbone(ORB.name, config)
    made.load_state_dict(weights)
    return Potential(made, potential.reference_energies, dict(potential.card))
