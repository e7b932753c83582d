"""Models of M3GNet with Triton's operators are the plain models."""

from __future__ import annotations

import pytest
from interpreted.on_cpu import CALLS, as_on_gpu, replace_as_on_gpu
from structures import random_structure
from test_m3gnet_kernel import CONFIGS, evaluator, plain
from test_partitioned import require_equal

from halocline.graph import Structure
from halocline.plugins.fused.gates import EDGE_HALF
from halocline.plugins.fused.three_body import THREE_BODY
from halocline.plugins.kernels.m3gnet import M3GNetEdges

as_on_gpu(*EDGE_HALF, *THREE_BODY)


@pytest.mark.parametrize("config", ["matgl", "mattersim"])
def test_whole_models_are_the_plain_ones(config, monkeypatch):
    """Energies, forces and virial."""
    monkeypatch.setattr(M3GNetEdges, "pays", lambda self, stage: True)
    structure = Structure.from_atoms(random_structure(1, atoms=8, edge=(2.5, 6.0)))
    expected = plain(CONFIGS[config]).evaluate(structure)
    replace_as_on_gpu(M3GNetEdges, monkeypatch)
    fused = evaluator(CONFIGS[config])
    assert [each.stage for each in fused.replaced] == ["layers.0", "layers.1"]
    CALLS.clear()
    require_equal(fused.evaluate(structure), expected)
    assert set(CALLS) == {"edge_half", "edge_half_backward", "three_body_sums", "three_body_sums_backward"}
