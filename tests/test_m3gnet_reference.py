"""M3GNet's moments give what its triples give, in both dialects, forms and whatever the structure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy_reference.m3gnet import NumpyM3GNet
from structures import random_structure

from halocline.aggregation import Form
from halocline.errors import BackboneError
from halocline.graph import NeighbourList, Structure
from halocline.model.build import build_backbone
from halocline.partition import whole
from halocline.plugins.backbones.m3gnet.config import HIGHEST_DEGREE
from halocline.plugins.backbones.m3gnet.three_body import spherical_harmonics
from halocline.program import Capabilities, FrozenModel, Precision, energies_and_gradients
from halocline.program.geometry import forces_from_gradients, virial_from_gradients
from halocline.program.layout import gather_edges, lay_out

#: Of the largest value. The self-term that the moments take off again is as large as the sums themselves.
AGREEMENT = 1e-12

SIZES = {"species": ["H", "O"], "features": 6, "units": 5, "cutoff": 3.5, "threebody_cutoff": 3.0}
CONFIGS = {
    "matgl, smooth": {"radial": "smooth", "layers": 2, "max_l": 3, "max_n": 2},
    "matgl, bessel": {"radial": "bessel", "layers": 2, "max_l": 3, "max_n": 3},
    "matgl, sums at the centre": {"sums": "centre", "layers": 1, "max_l": 4, "max_n": 1},
    "mattersim": {"dialect": "mattersim", "sums": "centre", "layers": 2, "max_l": 4, "max_n": 4},
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_moments_equal_triples(config, form, seed):
    backbone = build_backbone("m3gnet", SIZES | config, seed=seed)
    with torch.no_grad():
        backbone.embed.scale.copy_(torch.linspace(0.5, 2.0, len(backbone.embed.scale)))
    structure = Structure.from_atoms(random_structure(seed, atoms=7, edge=(3.0, 5.0)))
    graph = NeighbourList(backbone.neighbours).graph(structure)
    part = whole(len(structure), graph.edges, backbone.hops)
    frozen = FrozenModel.freeze(backbone, Precision.FLOAT64, Capabilities.reference(form))
    outputs = energies_and_gradients(frozen.backbone, lay_out(graph, part, form, Precision.FLOAT64))
    gradients = gather_edges(outputs.gradients, part, form)
    receivers, senders = torch.from_numpy(graph.edges.receivers), torch.from_numpy(graph.edges.senders)
    forces = forces_from_gradients(gradients, receivers, senders, len(structure)).numpy()
    virial = virial_from_gradients(gradients, torch.from_numpy(graph.vectors)).numpy()

    reference = NumpyM3GNet(backbone.config, {k: v.numpy() for k, v in backbone.state_dict().items()})
    found = (structure.numbers, graph.edges.receivers, graph.edges.senders, graph.vectors)
    energies, expected_forces, expected_virial = reference.energies_forces_virial(*found)
    assert len(reference._triples(found[1], np.linalg.norm(found[3], axis=1))) > 20
    for value, expected in (
        (outputs.energies.numpy(), energies),
        (forces, expected_forces),
        (virial, expected_virial),
    ):
        np.testing.assert_allclose(value, expected, rtol=0, atol=AGREEMENT * max(1.0, np.abs(expected).max()))


def test_harmonics_obey_the_addition_theorem():
    random = np.random.default_rng(0)
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in random.normal(size=(2, 50, 3)))
    cosines = (a * b).sum(1)
    products = spherical_harmonics(torch.from_numpy(a), HIGHEST_DEGREE + 1)
    products = products * spherical_harmonics(torch.from_numpy(b), HIGHEST_DEGREE + 1)
    for degree in range(HIGHEST_DEGREE + 1):
        legendre = np.polynomial.Legendre.basis(degree)(cosines)
        expected = (2 * degree + 1) / (4 * np.pi) * legendre
        found = products[:, degree**2 : (degree + 1) ** 2].sum(1)
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"species": ["Am"]}, "up to Pu"),
        ({"max_l": 9}, "max_l is at most 4"),
        ({"threebody_cutoff": 6.0}, "three-body cutoff"),
        ({"radial": "gaussian"}, "radial"),
        ({"dialect": "mattersim"}, "sums at the centre"),
        ({"use_phi": True}, "use_phi"),
    ],
)
def test_impossible_configs_are_named(changes, message):
    with pytest.raises(BackboneError, match=message):
        build_backbone("m3gnet", SIZES | changes, seed=0)
