"""Steps of SchNetPack, with the weights of a checkpoint of Halocline."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, TypeVar

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # whole networks are pickled

import numpy as np
import torch
import torch.utils.data.dataloader
from serve import Made, serve

# SchNetPack 2.1.1 imports a type variable from here that torch has dropped.
torch.utils.data.dataloader.T_co = TypeVar("T_co", covariant=True)

import schnetpack as spk  # noqa: E402
from schnetpack.interfaces import SpkCalculator  # noqa: E402
from schnetpack.transform import MatScipyNeighborList, SkinNeighborList  # noqa: E402

#: Å, as the class has it by default.
SKIN = 0.3

#: Parts of the names of weights in Halocline, and what they are called here.
NAMES = {
    "embed.table.": "representation.embedding.",
    "layers.": "representation.interactions.",
    ".filters.hidden.": ".filter_network.0.",
    ".filters.out.": ".filter_network.1.",
    ".sender.": ".in2f.",
    ".receiver.": ".f2out.0.",
    ".out.": ".f2out.1.",
    "readout.hidden.": "output_modules.0.outnet.0.",
    "readout.f2out.1.": "output_modules.0.outnet.1.",
}


class Neighbours(SkinNeighborList):
    """The list with its skin, begun anew with a structure of another size, which by itself it cannot compare."""

    atoms = 0

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """See the class before."""
        if (atoms := len(inputs[spk.properties.R])) != self.atoms:
            self.reset()
            self.atoms = atoms
        return super().forward(inputs)


def make(asked: dict[str, Any]) -> Made:
    """Build the model that the file tells of, save it as SchNetPack does, and load that."""
    torch.set_num_threads(asked["threads"])
    with np.load(asked["model"]) as file:
        config = json.loads(str(file["config"]))
        network = built(config)
        load(network, {name: torch.from_numpy(file[name]) for name in file.files if name != "config"})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "best_model")
        torch.save(network, path)
        calculator = SpkCalculator(
            str(path),
            neighbor_list=Neighbours(MatScipyNeighborList(cutoff=config["cutoff"]), cutoff_skin=SKIN),
            stress_key="stress",
            energy_unit="eV",
            device=asked["device"],
        )
    return calculator, lambda: {"cutoff": config["cutoff"], "skin": SKIN}


def built(config: dict[str, Any]) -> torch.nn.Module:
    """A network of the same sizes."""
    cutoff = config["cutoff"]
    representation = spk.representation.SchNet(
        n_atom_basis=config["features"],
        n_interactions=config["layers"],
        radial_basis=spk.nn.GaussianRBF(n_rbf=config["gaussians"], cutoff=cutoff),
        cutoff_fn=spk.nn.CosineCutoff(cutoff),
    )
    network = spk.model.NeuralNetworkPotential(
        representation,
        input_modules=[spk.atomistic.Strain(), spk.atomistic.PairwiseDistances()],
        output_modules=[
            spk.atomistic.Atomwise(
                n_in=config["features"], output_key="energy", activation=spk.nn.shifted_softplus
            ),
            spk.atomistic.Forces(calc_stress=True),
        ],
        postprocessors=[spk.transform.CastTo64()],
    )
    return network.double()


def load(network: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Give a network weights under the names that they have in Halocline."""
    renamed = {}
    for name, values in weights.items():
        for ours, theirs in NAMES.items():
            name = name.replace(ours, theirs)
        renamed[name] = values
    left = network.load_state_dict(renamed, strict=False)
    trained = {name for name, _ in network.named_parameters()}
    if left.unexpected_keys or trained & set(left.missing_keys):
        raise SystemExit(f"Weights do not fit: {left}.")


if __name__ == "__main__":
    serve(make, ["schnetpack", "torch", "matscipy", "numpy", "ase"])
