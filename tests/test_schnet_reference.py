"""The torch SchNet equals the NumPy one, whatever its sizes, neighbours, form and structure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy_reference.schnet import NumpySchNet, forces_and_virial
from structures import random_structure

from halocline.aggregation import Form
from halocline.graph import NeighbourList, Structure
from halocline.model.build import build_backbone
from halocline.partition import whole
from halocline.program import Capabilities, FrozenModel, Precision, energies_and_gradients
from halocline.program.geometry import forces_from_gradients, virial_from_gradients
from halocline.program.layout import gather_edges, lay_out

#: Of the largest value. Sums run over up to a hundred edges and three layers in float64.
AGREEMENT = 1e-12

CONFIGS = {
    "radius": {"features": 12, "gaussians": 9, "layers": 3, "cutoff": 4.0},
    "nearest": {
        "features": 8,
        "gaussians": 20,
        "layers": 2,
        "cutoff": 2.5,
        "neighbours": "nearest",
        "nearest_count": 7,
    },
    "one layer": {"features": 4, "gaussians": 60, "layers": 1, "cutoff": 5.0},
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_torch_equals_numpy(config, form, seed):
    backbone = build_backbone("schnet", {"species": ["H", "O"], **config}, seed=seed)
    _randomise_offsets(backbone, seed)
    structure = Structure.from_atoms(random_structure(seed, atoms=15))
    graph = NeighbourList(backbone.neighbours).graph(structure)
    part = whole(len(structure), graph.edges, backbone.hops)

    frozen = FrozenModel.freeze(backbone, Precision.FLOAT64, Capabilities.reference(form))
    outputs = energies_and_gradients(frozen.backbone, lay_out(graph, part, form, Precision.FLOAT64))
    gradients = gather_edges(outputs.gradients, part, form)
    receivers, senders = torch.from_numpy(graph.edges.receivers), torch.from_numpy(graph.edges.senders)
    forces = forces_from_gradients(gradients, receivers, senders, len(structure)).numpy()
    virial = virial_from_gradients(gradients, torch.from_numpy(graph.vectors)).numpy()

    reference = NumpySchNet(backbone.config, {k: v.numpy() for k, v in backbone.state_dict().items()})
    edges = graph.edges
    energies, slopes = reference.energies_and_gradients(
        structure.numbers, edges.receivers, edges.senders, graph.vectors
    )
    expected_forces, expected_virial = forces_and_virial(
        len(structure), edges.receivers, edges.senders, graph.vectors, slopes
    )
    assert np.abs(expected_forces).max() > 1e-3, "a flat model would hide errors"
    _agree(outputs.energies.numpy(), energies)
    _agree(forces, expected_forces)
    _agree(virial, expected_virial)


def _randomise_offsets(backbone, seed):
    """Biases start at zero; other values make sure that each of them is used."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3)


def _agree(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=AGREEMENT * np.abs(expected).max())
