"""Triton's convolutions and activations are their definitions, alone and in whole models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from interpreted.on_cpu import CALLS, as_on_gpu, replace_as_on_gpu
from structures import random_structure
from test_fused_convolution import AGREEMENT, BLOCKS, Wave, blocks, called, convolved, require_near, schnet
from test_partitioned import RandomOwners, require_equal

from halocline.aggregation import EdgeBlock, TabulatedFunction
from halocline.backends.torch.executor import TorchExecutor
from halocline.evaluator import LocalEvaluator
from halocline.graph import Structure
from halocline.partition import Division
from halocline.plugins.backbones.schnet.radial import ShiftedSoftplus
from halocline.plugins.fused import softplus
from halocline.plugins.fused.softplus import shifted_softplus
from halocline.plugins.kernels.convolution import OPERATORS, Exact, FromTable
from halocline.plugins.kernels.schnet import FusedSchNet
from halocline.plugins.kernels.tables import tabulate
from halocline.program import Precision
from halocline.program.operators import composites

as_on_gpu(*OPERATORS, *softplus.OPERATORS)

KINDS = {"exact": Exact, "table": lambda function: FromTable(tabulate(function))}


def _several(results):
    return results if isinstance(results, tuple) else (results,)


@pytest.mark.parametrize(("dtype", "channels"), [(torch.float64, 20), (torch.float32, 136)])
@pytest.mark.parametrize("which", BLOCKS)
def test_convolutions_are_what_blocks_say(which, channels, dtype):
    block, wave = blocks()[which], Wave(channels)
    for plain, kind in ((wave, Exact), (tabulate(wave), FromTable)):
        expected = convolved(plain, block, torch.float64, channels)
        require_near(convolved(kind(plain), block, dtype, channels), expected, AGREEMENT[dtype])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", BLOCKS)
def test_operators_equal_their_definitions(which, kind):
    before = CALLS.total()
    with called() as seen:
        convolved(KINDS[kind](Wave(20)), blocks()[which], torch.float64, 20)
    assert CALLS.total() > before
    for function, arguments in seen.values():
        found, again, expected = (call(*arguments) for call in (function, function, composites()[function]))
        for ours, same, reference in zip(*map(_several, (found, again, expected)), strict=True):
            torch.testing.assert_close(ours, reference, rtol=1e-12, atol=1e-12)
            assert torch.equal(ours, same)


@pytest.mark.parametrize("distance", [4.5, float("nan")])
def test_beyond_the_end_and_nowhere(distance):
    vectors = torch.tensor([[distance, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    block = EdgeBlock(2, 2, vectors, torch.tensor([1, 0]), torch.tensor([0, 1]))
    found = block.convolve(torch.ones((2, 20), dtype=torch.float64), KINDS["table"](Wave(20)))
    assert torch.isnan(found[0]).all() if np.isnan(distance) else not found[0].any()
    assert torch.isfinite(found[1]).all()
    assert found[1].all()


def test_a_table_goes_on_with_its_last_values():
    function = FromTable(TabulatedFunction(torch.ones((1, 4, 4, 3)), torch.full((1, 3), 7.0), 0.0, 2.0))
    block = EdgeBlock(1, 1, torch.tensor([[0.0, 3.0, 0.0]]), torch.tensor([0]), torch.tensor([0]))
    assert torch.equal(block.convolve(torch.ones((1, 3)), function), torch.full((1, 3), 7.0))


@pytest.mark.parametrize("dtype", AGREEMENT, ids=str)
@pytest.mark.parametrize("count", [0, 5, 3000])
def test_softplus_is_its_definition(dtype, count):
    x = torch.linspace(-120.0, 120.0, count, dtype=torch.float64).to(dtype)
    x[:5] = torch.tensor([0.0, 1e-30, float("nan"), 1e4, -1e4])[:count]
    found = shifted_softplus(x.requires_grad_(True))
    (slope,) = torch.autograd.grad(found.sum(), x)
    wide, precision = x.detach().double(), torch.finfo(dtype).eps
    for ours, exact in ((found, ShiftedSoftplus()(wide)), (slope, torch.sigmoid(wide))):
        torch.testing.assert_close(ours.double(), exact, rtol=2 * precision, atol=2 * precision, equal_nan=True)


@pytest.mark.parametrize("compress", [False, True], ids=["exact", "tables"])
def test_whole_models_and_parts_are_the_plain_model(compress, monkeypatch):
    """Energies, forces and virial."""
    model, structure = schnet(), Structure.from_atoms(random_structure(0, atoms=8))
    division = Division("random", RandomOwners(1), 2)
    replace_as_on_gpu(FusedSchNet, monkeypatch)
    executor = TorchExecutor("cpu"), Precision.FLOAT64
    fused = [LocalEvaluator(model, *executor, *rest, compress=compress) for rest in ((), (division,))]
    monkeypatch.setenv("HALOCLINE_DISABLE_KERNELS", "schnet,convolution")
    plain = LocalEvaluator(model, *executor, compress=compress).evaluate(structure)
    for evaluator in fused:
        assert {each.stage for each in evaluator.replaced if each.kernel == "halocline/schnet"} >= {
            "layers.0",
            "layers.1",
        }
        CALLS.clear()
        require_equal(evaluator.evaluate(structure), plain)
        convolutions = (
            {"convolve_table", "pull_table"} if compress else {"convolve_weighted", "sum_weighted", "pull_weights"}
        )
        assert set(CALLS) >= convolutions | {"shifted_softplus", "pull_shifted_softplus"}
