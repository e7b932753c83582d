"""Compiled convolutions are their definitions, in whole structures and in parts, and the same for any threads."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from structures import random_structure
from test_convolution import block_of, some_graph, some_parts
from test_kernels import ABLE
from test_partitioned import RandomOwners, require_equal

from halocline.aggregation import Form, RadialFunction, TabulatedFunction
from halocline.aggregation.edges import EdgeBlock
from halocline.backends.torch.executor import TorchExecutor
from halocline.evaluator import LocalEvaluator
from halocline.graph import Structure
from halocline.model.build import build_backbone, build_with_seed
from halocline.partition import Division
from halocline.plugins.backbones.mace import MACE
from halocline.plugins.backbones.schnet.radial import ShiftedSoftplus
from halocline.plugins.fused import table_convolution, weighted_convolution
from halocline.plugins.fused.edges import ORDER_BY_SENDER, order_by_sender
from halocline.plugins.fused.softplus import shifted_softplus
from halocline.plugins.kernels.convolution import Convolution, Exact, FromTable
from halocline.plugins.kernels.schnet import FusedSchNet
from halocline.plugins.kernels.tables import Tables, tabulate
from halocline.program import FrozenModel, Precision
from halocline.program.kernel import Kernel
from halocline.program.operators import composites
from halocline.testing import check_kernel

OPERATORS = {
    operator.name.partition("::")[2]: operator
    for operator in (ORDER_BY_SENDER, *table_convolution.OPERATORS, *weighted_convolution.OPERATORS)
}

#: Of sums of a few dozen numbers, relative to the largest.
AGREEMENT = {torch.float64: 1e-12, torch.float32: 2e-5}

#: By name, what runs layers of a SchNet where the others are switched off.
KERNELS = {"halocline/schnet": "convolution", "halocline/convolution": "schnet"}


class Wave(RadialFunction):
    """Smooth functions that end at 4 Å."""

    start, end = 0.0, 4.0

    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.frequencies = torch.linspace(0.5, 2.0, channels, dtype=torch.float64)

    def forward(self, distances, numbers=None):
        rest = (1.0 - distances / self.end).clamp(min=0.0)[..., None] ** 3
        return rest * torch.cos(distances[..., None] * self.frequencies.to(distances))


def blocks():
    """Whole structures, which need no order; parts; lists without pairs; rows of more edges than fit at once."""
    graph = some_graph()
    found = {name: block_of(graph, part, Form.EDGES) for name, part in some_parts(graph).items()}
    whole = found["whole"]
    found["unpaired"] = EdgeBlock(whole.n_in, whole.n_out, whole.vectors, whole.senders, whole.receivers)
    senders = torch.arange(300) % 7
    receivers = torch.repeat_interleave(torch.tensor([0, 2, 3]), torch.tensor([130, 64, 106]))
    vectors = torch.randn((300, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found["crowded"] = EdgeBlock(7, 5, vectors, senders, receivers)
    found["empty"] = EdgeBlock(3, 2, vectors[:0], senders[:0], receivers[:0])
    return found


BLOCKS = tuple(blocks())


def convolved(function, block, dtype, channels):
    """Values, and gradients by values and vectors (of pairs, where opposite edges are known)."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randn((block.n_in, channels), generator=generator, dtype=torch.float64).to(dtype)
    cotangents = torch.randn((block.n_out, channels), generator=generator, dtype=torch.float64).to(dtype)
    values.requires_grad_(True)
    vectors = block.vectors.to(dtype).requires_grad_(True)
    block = EdgeBlock(**{name: getattr(block, name) for name in block.__slots__} | {"vectors": vectors})
    result = block.convolve(values, function.to(dtype))
    by_values, by_vectors = torch.autograd.grad(result, [values, vectors], cotangents)
    if block.opposite is not None:
        nothing = by_vectors.new_zeros((1, 3))
        by_vectors = by_vectors - torch.cat([by_vectors, nothing])[block.opposite.clamp(max=len(by_vectors))]
    return [each.detach().double() for each in (result, by_values, by_vectors)]


def require_near(found, expected, tolerance):
    for ours, reference in zip(found, expected, strict=True):
        assert ours.shape == reference.shape
        scale = max(1.0, float(reference.abs().max())) if reference.numel() else 1.0
        torch.testing.assert_close(ours, reference, rtol=0.0, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", AGREEMENT, ids=str)
@pytest.mark.parametrize("channels", [1, 16, 20, 136])
@pytest.mark.parametrize("which", BLOCKS)
def test_convolutions_are_what_blocks_say(which, channels, dtype):
    block = blocks()[which]
    wave = Wave(channels)
    exact = convolved(wave, block, torch.float64, channels)
    require_near(convolved(Exact(Wave(channels)), block, dtype, channels), exact, AGREEMENT[dtype])
    tabulated = convolved(tabulate(wave), block, torch.float64, channels)
    require_near(convolved(FromTable(tabulate(wave)), block, dtype, channels), tabulated, AGREEMENT[dtype])


@contextmanager
def called():
    """The arguments that operators are called with, by their names."""
    seen = {}

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.namespace == "halocline":
                seen[func._opname] = (func, args)
            return func(*args, **(kwargs or {}))

    with Watch():
        yield seen


@pytest.mark.parametrize("which", BLOCKS)
@pytest.mark.parametrize("kind", [Exact, lambda function: FromTable(tabulate(function))], ids=["exact", "table"])
def test_operators_equal_their_definitions(which, kind):
    with called() as seen:
        convolved(kind(Wave(20)), blocks()[which], torch.float64, 20)
    assert seen
    for function, arguments in seen.values():
        found, expected = function(*arguments), composites()[function](*arguments)
        pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
        for ours, reference in pairs:
            torch.testing.assert_close(ours, reference, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("which", ["whole", "part"])
@pytest.mark.parametrize("kind", [Exact, lambda function: FromTable(tabulate(function))], ids=["exact", "table"])
def test_operators_are_what_torch_asks_of_them(which, kind):
    with called() as seen:
        convolved(kind(Wave(20)), blocks()[which], torch.float64, 20)
    for function, arguments in seen.values():
        plain = [each.detach() if isinstance(each, torch.Tensor) else each for each in arguments]
        if function._opname.startswith("convolve"):
            plain[0].requires_grad_(True)
            plain[1].requires_grad_(True)
        torch.library.opcheck(function, tuple(plain))


@pytest.mark.parametrize("kind", [Exact, lambda function: FromTable(tabulate(function))], ids=["exact", "table"])
@pytest.mark.parametrize("distance", [4.0, 4.5, 1e9, float("nan")])
def test_beyond_the_end_and_nowhere(kind, distance):
    vectors = torch.tensor([[distance, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    block = EdgeBlock(2, 2, vectors, torch.tensor([1, 0]), torch.tensor([0, 1]))
    found = block.convolve(torch.ones((2, 20), dtype=torch.float64), kind(Wave(20)))
    assert torch.isnan(found[0]).all() if np.isnan(distance) else not found[0].any()
    assert torch.isfinite(found[1]).all()
    assert found[1].all()


def test_a_table_goes_on_with_its_last_values():
    function = FromTable(TabulatedFunction(torch.ones((1, 4, 4, 3)), torch.full((1, 3), 7.0), 0.0, 2.0))
    block = EdgeBlock(1, 1, torch.tensor([[0.0, 3.0, 0.0]]), torch.tensor([0]), torch.tensor([0]))
    assert torch.equal(block.convolve(torch.ones((1, 3)), function), torch.full((1, 3), 7.0))


@pytest.mark.parametrize("kind", [Exact, lambda function: FromTable(tabulate(function))], ids=["exact", "table"])
@pytest.mark.parametrize("which", ["whole", "part", "crowded"])
def test_threads_change_no_bit(which, kind):
    function, before, found = kind(Wave(40)), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(convolved(function, blocks()[which], torch.float32, 40))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


@pytest.mark.parametrize("dtype", AGREEMENT, ids=str)
@pytest.mark.parametrize("count", [0, 5, 3000])
def test_softplus_is_its_definition(dtype, count):
    x = torch.linspace(-120.0, 120.0, count, dtype=torch.float64).to(dtype)
    x[:5] = torch.tensor([0.0, 1e-30, float("nan"), 1e4, -1e4])[:count]
    x.requires_grad_(True)
    exact = ShiftedSoftplus()(x.detach().double())
    found = shifted_softplus(x)
    precision = torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), exact, rtol=2 * precision, atol=2 * precision, equal_nan=True)
    (slope,) = torch.autograd.grad(found.sum(), x)
    expected = torch.sigmoid(x.detach().double())
    torch.testing.assert_close(slope.double(), expected, rtol=0.0, atol=2 * precision, equal_nan=True)
    torch.library.opcheck(torch.ops.halocline.shifted_softplus.default, (torch.ones_like(x).requires_grad_(True),))


@pytest.mark.parametrize("edges", [0, 1, 500])
def test_edges_in_the_order_of_their_senders(edges):
    senders = torch.from_numpy(np.random.default_rng(0).integers(0, 30, edges))
    order, starts = order_by_sender(senders, 33)
    assert torch.equal(order, torch.argsort(senders, stable=True))
    for sender in range(33):
        assert torch.equal(order[starts[sender] : starts[sender + 1]], torch.nonzero(senders == sender)[:, 0])


def schnet(features=36, layers=2):
    config = {"species": ["H", "O"], "features": features, "gaussians": 9, "layers": layers, "cutoff": 3.0}
    return build_backbone("schnet", config)


class Both(Kernel):
    """Tables, and what runs them."""

    version, exact, forms, tolerances = 1, False, FusedSchNet.forms, Tables.tolerances

    def suits(self, stage):
        return FusedSchNet().suits(stage) and Tables().suits(stage)

    def replace(self, stage, *how):
        return FusedSchNet().replace(Tables().replace(stage, *how), *how)


@pytest.mark.parametrize(
    ("kind", "features"), [(Convolution, 36), (FusedSchNet, 36), (Both, 36), (FusedSchNet, 48), (Both, 48)]
)
def test_the_suite_passes(kind, features):
    report = check_kernel(kind(), schnet(features))
    assert {result.status for result in report.results} == {"passed"}, report.results


# Of 36 channels nothing but operators is compiled; of 48 a layer with tables is one call.
@pytest.mark.parametrize(("compress", "features"), [(False, 36), (True, 36), (True, 48)])
@pytest.mark.parametrize("exchange", [False, True], ids=["recompute", "exchange"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_parts_and_batches_are_the_plain_model(kernel, exchange, compress, features, monkeypatch):
    model, executor = schnet(features), TorchExecutor("cpu")
    structures = [Structure.from_atoms(random_structure(seed, atoms=14, edge=(2.5, 9.0))) for seed in range(3)]
    monkeypatch.setenv("HALOCLINE_DISABLE_KERNELS", "schnet,convolution")
    plain = LocalEvaluator(model, executor, Precision.FLOAT64, compress=compress)
    monkeypatch.setenv("HALOCLINE_DISABLE_KERNELS", KERNELS[kernel])
    division = Division("random", RandomOwners(1), 5)
    parts = LocalEvaluator(model, executor, Precision.FLOAT64, division, exchange=exchange, compress=compress)
    assert {each.stage for each in parts.replaced if each.kernel == kernel} >= {"layers.0", "layers.1"}
    together = LocalEvaluator(model, executor, Precision.FLOAT64, compress=compress)
    batch = together.evaluate_many(structures)
    for structure, found in zip(structures, batch, strict=True):
        expected = plain.evaluate(structure)
        require_equal(parts.evaluate(structure), expected)
        require_equal(together.evaluate(structure), expected)
        require_equal(found, expected)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("way", ["inductor", "aot"])
@pytest.mark.parametrize("compress", [False, True], ids=["exact", "tables"])
def test_compiled_programs_convolve_with_them(way, compress):
    structure = Structure.from_atoms(random_structure(1, atoms=14))
    model, precision = schnet(), Precision.FLOAT64
    compiled = LocalEvaluator(model, TorchExecutor("cpu", compile=way), precision, compress=compress)
    assert any(each.kernel in KERNELS for each in compiled.replaced)
    plain = LocalEvaluator(model, TorchExecutor("cpu"), precision, compress=compress)
    require_equal(compiled.evaluate(structure), plain.evaluate(structure))


def test_stages_that_convolve_with_nothing_are_left_alone():
    model = build_with_seed(MACE, MACE.example_config(), seed=0)
    frozen = FrozenModel.freeze(model, Precision.FLOAT64, ABLE)
    assert not any(each.kernel in KERNELS for each in frozen.replaced)
