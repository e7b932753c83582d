"""The weights of a model with energies of atoms, out of one whose energy is that of the mean of features."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

#: What the new readout takes over from the head, and what has no place any more.
_OF_HEAD = ("mean.energy.", "mean.scale", "mean.shift")
_GONE = ("mean.", "readout.force")


def weights_of_atoms(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by name: the network that gave an energy for the mean of features is the readout of each atom.

    The two energies are equal where all atoms have the same features, and else are not. What told direct forces
    and stress is left behind. Nuclei repel each other in full; conservative models had the mean over atoms of it.

    Args:
        weights: of an ORB.
    """
    return {
        name.replace("mean.", "readout.", 1) if name.startswith(_OF_HEAD) else name: tensor
        for name, tensor in weights.items()
        if name.startswith(_OF_HEAD) or not name.startswith(_GONE)
    }
