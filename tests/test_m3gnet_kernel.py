"""M3GNet's compiled blocks in whole models: the same physics, in every way that models are run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from structures import random_structure
from test_partitioned import RandomOwners, require_equal

from halocline.backends.torch.executor import TorchExecutor
from halocline.evaluator import LocalEvaluator
from halocline.graph import Structure
from halocline.model.build import build_backbone
from halocline.partition import Division
from halocline.plugins.kernels.m3gnet import FusedLayer, M3GNetEdges
from halocline.program import Precision
from halocline.testing import check_kernel

SIZES = {"species": ["H", "O"], "features": 12, "units": 9, "layers": 2, "cutoff": 3.0, "threebody_cutoff": 2.5}
CONFIGS = {
    "matgl": {"max_l": 3, "max_n": 2},
    "bessel": {"radial": "bessel", "sums": "centre", "max_l": 2, "max_n": 3},
    "mattersim": {"dialect": "mattersim", "sums": "centre", "max_l": 4, "max_n": 2},
}


@pytest.fixture(autouse=True)
def small_models_too(monkeypatch):
    monkeypatch.setattr(M3GNetEdges, "pays", lambda self, stage: True)


everywhere = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def model(config):
    backbone = build_backbone("m3gnet", SIZES | config, seed=3)
    with torch.no_grad():
        backbone.embed.scale.copy_(torch.linspace(0.5, 2.0, len(backbone.embed.scale)))
    return backbone


def evaluator(config, executor=None, division=None, **options):
    return LocalEvaluator(model(config), executor or TorchExecutor("cpu"), Precision.FLOAT64, division, **options)


def plain(config):
    return evaluator(config, TorchExecutor("cpu", kernels="off"))


def structures():
    return [Structure.from_atoms(random_structure(seed, atoms=14, edge=(2.5, 9.0))) for seed in range(3)]


@everywhere
def test_stages_models_parts_and_batches_are_the_plain_ones(config):
    report = check_kernel(M3GNetEdges(), model(config))
    assert report.ok, [result for result in report.results if result.status == "failed"]
    assert {result.status for result in report.results} == {"passed"}


@everywhere
def test_it_is_what_runs(config):
    fast = evaluator(config)
    assert [(each.stage, each.kernel) for each in fast.replaced] == [
        (f"layers.{layer}", "halocline/m3gnet-edges") for layer in range(2)
    ]
    for structure in structures():
        require_equal(fast.evaluate(structure), plain(config).evaluate(structure))


@everywhere
@pytest.mark.parametrize("exchange", [False, True], ids=["recompute", "exchange"])
def test_parts_are_the_plain_model(config, exchange):
    parts = evaluator(config, division=Division("random", RandomOwners(1), 4), exchange=exchange)
    assert len(parts.replaced) == 2
    for structure in structures():
        require_equal(parts.evaluate(structure), plain(config).evaluate(structure))


def test_forces_are_differences_of_energies():
    fast, structure, step = evaluator(CONFIGS["matgl"]), structures()[0], 1e-4
    forces = fast.evaluate(structure).forces
    for atom, axis in ((0, 0), (5, 1), (13, 2)):
        energies = []
        for sign in (1.0, -1.0):
            atoms = random_structure(0, atoms=14, edge=(2.5, 9.0))
            atoms.positions[atom, axis] += sign * step
            energies.append(fast.evaluate(Structure.from_atoms(atoms)).energy)
        difference = (energies[1] - energies[0]) / (2.0 * step)
        assert abs(difference - forces[atom, axis]) <= 1e-6 * max(1.0, float(np.abs(forces).max()))


def test_no_edges_are_no_interaction():
    lonely = random_structure(0, atoms=2, edge=(40.0, 41.0))
    lonely.positions[1] = lonely.positions[0] + 15.0
    structure = Structure.from_atoms(lonely)
    require_equal(evaluator(CONFIGS["matgl"]).evaluate(structure), plain(CONFIGS["matgl"]).evaluate(structure))


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("way", ["inductor", "aot"])
def test_compiled_programs_call_it(way):
    config = CONFIGS["matgl"]
    compiled = evaluator(config, TorchExecutor("cpu", compile=way))
    assert compiled.replaced
    for structure in structures():
        require_equal(compiled.evaluate(structure), plain(config).evaluate(structure))


def test_padded_edges_go_through_the_plain_block():
    """Table blocks and masked edges have no compiled way, and the stage still answers."""
    from halocline.aggregation import Form
    from halocline.graph import NeighbourList
    from halocline.partition import whole
    from halocline.program import Capabilities, FrozenModel, energies_and_gradients
    from halocline.program.layout import lay_out
    from halocline.program.replacement import exchanged

    backbone, structure = model(CONFIGS["matgl"]), structures()[0]
    graph = NeighbourList(backbone.neighbours).graph(structure)
    part = whole(len(structure), graph.edges, backbone.hops)
    frozen = FrozenModel.freeze(backbone, Precision.FLOAT64, Capabilities.reference(Form.EDGES))
    exchanged(backbone, frozen, {"k": M3GNetEdges()}, "cpu", strict=True)
    assert all(isinstance(layer, FusedLayer) for layer in frozen.backbone.layers)
    flat, table = (
        energies_and_gradients(frozen.backbone, lay_out(graph, part, form, Precision.FLOAT64)).energies
        for form in (Form.EDGES, Form.TABLE)
    )
    torch.testing.assert_close(flat, table, rtol=0, atol=1e-12)
