"""SchNets of PNNL's water-cluster work (J. A. Bilbrey et al., arXiv:2211.04598)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ase import units
from torch import Tensor

from halocline.checkpoint import Checkpoint
from halocline.model.config import to_json
from halocline.plugins.backbones.schnet.config import SchNetConfig

#: Water is all that these models were ever fitted to; rows of other elements are as they were drawn.
SPECIES: Final = ("H", "O")

#: Neighbours of each atom, fixed in the code.
NEAREST: Final = 28

#: Parts of a layer: theirs → ours.
_LAYER: Final = {
    "mlp.0.weight": "filters.hidden.weight",
    "mlp.0.bias": "filters.hidden.bias",
    "mlp.2.weight": "filters.out.weight",
    "mlp.2.bias": "filters.out.bias",
    "conv.lin1.weight": "sender.weight",
    "conv.lin2.weight": "receiver.weight",
    "conv.lin2.bias": "receiver.bias",
    "lin.weight": "out.weight",
    "lin.bias": "out.bias",
}


def convert(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Turn a model into one of ours, in float64 and eV.

    Args:
        config: ``features``, ``gaussians``, ``interactions`` and ``cutoff`` in Å.
        tensors: of its state, for energies in kcal/mol.

    Raises:
        BackboneError: the sizes are none of a SchNet.
    """
    ours = SchNetConfig(
        species=SPECIES,
        features=config["features"],
        gaussians=config["gaussians"],
        layers=config["interactions"],
        cutoff=config["cutoff"],
        neighbours="nearest",
        nearest_count=NEAREST,
    )
    table = tensors["atom_embedding.weight"].double().clone()
    table[0] = 0.0  # padding, whose energies are left out there, whatever it holds
    weights = {"embed.table.weight": table}
    for layer in range(ours.layers):
        for theirs, name in _LAYER.items():
            weights[f"layers.{layer}.{name}"] = tensors[f"interactions.{layer}.{theirs}"].double()
    for kind in ("weight", "bias"):
        weights[f"readout.hidden.{kind}"] = tensors[f"lin1.{kind}"].double()
        weights[f"readout.out.{kind}"] = tensors[f"lin2.{kind}"].double() * (units.kcal / units.mol)
    energies = dict.fromkeys(SPECIES, 0.0)  # none are taken out there
    return Checkpoint(backbone="schnet", config=to_json(ours), tensors=weights, reference_energies=energies)
