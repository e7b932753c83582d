"""Regions of a model compute in the dtypes that a policy gives them, and nothing else changes."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch
from ase.io import read
from test_partitioned import RandomOwners

from halocline.aggregation.rows import add_up
from halocline.aggregation.sums import PLAIN, CompensatedSums, WideSums
from halocline.backends.torch.executor import TorchExecutor
from halocline.bench.structures import disordered_box
from halocline.errors import LoweringError, UsageError
from halocline.evaluator import LocalEvaluator
from halocline.graph import Structure
from halocline.model.build import build_backbone
from halocline.partition import Division
from halocline.plugin import registry
from halocline.program import Precision
from halocline.program.policy import PrecisionPolicy

NAMES = ("lennard-jones", "schnet", "m3gnet", "mace")

#: Forces in half precision, by max|F|: two to three digits of bfloat16 and float16 in each layer. Measured: 4e-2.
HALF = 0.3

#: Forces of one policy evaluated in another order, by max|F|: rounding of float32, and of bfloat16.
ROUNDING = {"float32:sums=float64": 1e-5, "float32:layers=float64": 1e-5, "float32:layers=bfloat16": 5e-2}


@cache
def model(name):
    return build_backbone(name, registry().load("backbone", name).example_config(), seed=1)


@cache
def structure(name):
    """Sixty atoms of water, or of argon for the model that knows no water."""
    if name == "lennard-jones":
        return Structure.from_atoms(disordered_box(model(name).species, 60, 0.02))
    return Structure.from_atoms(read("examples/water.extxyz")[:60])


def evaluated(name, text, division=None, *, exchange=False):
    policy = PrecisionPolicy.parse(text)
    evaluator = LocalEvaluator(
        model(name), TorchExecutor("cpu"), policy.program, division, exchange=exchange, policy=policy
    )
    return evaluator.evaluate(structure(name))


def off(found, expected):
    """The largest difference of forces, by the largest force."""
    return np.abs(found.forces - expected.forces).max() / max(1e-3, np.abs(expected.forces).max())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_regions_in_the_dtype_of_the_program_change_no_bit(name, dtype):
    plain_stages = TorchExecutor("cpu", kernels="off")  # policies are for those
    plain = LocalEvaluator(model(name), plain_stages, Precision(dtype)).evaluate(structure(name))
    for text in (dtype, f"{dtype}:layers={dtype},readouts={dtype}", f"{dtype}:sums={dtype},vectors={dtype}"):
        found = evaluated(name, text)
        np.testing.assert_array_equal(found.energies, plain.energies)
        np.testing.assert_array_equal(found.forces, plain.forces)


@pytest.mark.parametrize("name", NAMES)
def test_each_region_costs_the_digits_of_its_dtype(name):
    exact = evaluated(name, "float64")
    single = off(evaluated(name, "float32"), exact)
    assert 1e-9 < single < 1e-4
    assert off(evaluated(name, "float64:layers=float32"), exact) < 1e-4
    for dtype in ("bfloat16", "float16"):
        assert max(1e-4, 10 * single) < off(evaluated(name, f"float32:layers={dtype}"), exact) < HALF


@pytest.mark.parametrize("name", NAMES)
def test_sums_of_twice_the_digits_and_compensated_ones_are_the_same_rounded_once(name):
    wide, compensated = (evaluated(name, f"float32:sums={kind}") for kind in ("float64", "compensated"))
    np.testing.assert_allclose(wide.forces, compensated.forces, rtol=0, atol=2e-6 * np.abs(wide.forces).max())
    assert off(wide, evaluated(name, "float64")) < 1e-4


@pytest.mark.parametrize("exchange", [False, True], ids=["recompute", "exchange"])
@pytest.mark.parametrize("text", ROUNDING)
@pytest.mark.parametrize("name", ["schnet", "mace"])
def test_parts_are_the_whole(name, text, exchange):
    division = Division("random", RandomOwners(0), 3)
    assert off(evaluated(name, text, division, exchange=exchange), evaluated(name, text)) < ROUNDING[text]


def test_a_module_counts_before_what_it_is_part_of():
    policy = PrecisionPolicy.parse("float32:layers.0.filters=float64,layers=bfloat16,layers.0=float16")
    dtypes = policy.dtypes(model("schnet"))
    assert dtypes["layers.0"][""] == torch.float16
    assert dtypes["layers.0"]["filters.basis"] == torch.float64
    assert dtypes["layers.1"]["filters.basis"] == torch.bfloat16
    assert dtypes["embed"][""] == torch.float32


@pytest.mark.parametrize(
    ("name", "work", "maps"),
    [
        ("schnet", "radial", {"filters.hidden", "filters.out"}),
        ("schnet", "update", {"sender", "receiver", "out"}),
        ("mace", "radial", {"weights.layers.0", "weights.layers.1"}),
        ("mace", "product", {"contraction"}),
        ("mace", "update", {"up", "down", "skip", "mix"}),
    ],
)
def test_a_kind_of_work_is_its_maps_and_not_the_functions_of_distances(name, work, maps):
    dtypes = PrecisionPolicy.parse(f"float32:{work}=float16").dtypes(model(name))["layers.0"]
    half = [path for path, dtype in dtypes.items() if dtype == torch.float16]
    assert {path for path in half if path.rpartition(".")[0] not in half} == maps


@pytest.mark.parametrize("text", ["float32", "float64:vectors=float32", "float32:layers=bfloat16,sums=float64"])
def test_policies_are_written_as_they_are_read(text):
    assert str(PrecisionPolicy.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("float16", "regions may, such as float32:layers=bfloat16"),
        ("float32:layers=float8", "no dtype named 'float8'"),
        ("float32:sums=kahan", "no kind of sums named 'kahan'"),
        ("float32:layrs=float64", "did you mean 'layers"),
        ("float32:layers", "name:key=value"),
    ],
)
def test_what_is_not_there_is_named(text, hint):
    with pytest.raises(UsageError, match=hint):
        PrecisionPolicy.parse(text).dtypes(model("schnet"))


def test_who_cannot_run_a_policy_refuses_it():
    policy = PrecisionPolicy.parse("float32:layers=bfloat16")
    with pytest.raises(UsageError, match="programs of float32, not of float64"):
        LocalEvaluator(model("schnet"), TorchExecutor("cpu"), Precision.FLOAT64, policy=policy)
    with pytest.raises(UsageError, match="leave out compress"):
        LocalEvaluator(model("schnet"), TorchExecutor("cpu"), Precision.FLOAT32, compress=True, policy=policy)
    with pytest.raises(LoweringError, match="in bfloat16, in a program of float32"):
        LocalEvaluator(model("schnet"), TorchExecutor("cpu", "aot"), Precision.FLOAT32, policy=policy)
    onnx = registry().load("executor", "onnx")
    if onnx.diagnose().usable:
        with pytest.raises(UsageError, match="take flat edges"):
            LocalEvaluator(model("schnet"), onnx(device="cpu"), Precision.FLOAT32, policy=policy)


def test_the_model_stays_as_it_was():
    before = copy.deepcopy(model("mace").state_dict())
    evaluated("mace", "float32:layers=bfloat16")
    for name, tensor in model("mace").state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])
    assert not any(module._forward_hooks for module in model("mace").modules())


def rows(dtype=torch.float32, seed=0):
    """Pairs of terms that cancel to a millionth, in rows of all lengths, one of them empty."""
    generator = torch.Generator().manual_seed(seed)
    large = 1e6 * torch.randn(200, 3, generator=generator, dtype=torch.float64)
    values = torch.cat([large, torch.randn(200, 3, generator=generator, dtype=torch.float64) - large])
    return values.to(dtype), torch.randint(0, 11, (200,), generator=generator).repeat(2)


def test_compensated_sums_keep_what_plain_ones_lose():
    values, index = rows()
    exact = add_up(values.double(), index, 12)
    lost, kept = (
        (sums.add_up(values, index, 12).double() - exact).abs().max() for sums in (PLAIN, CompensatedSums())
    )
    assert kept <= 2 * torch.finfo(torch.float32).eps * exact.abs().max()
    assert lost > 1000 * kept
    assert torch.equal(WideSums(torch.float64).add_up(values, index, 12), exact.float())


@pytest.mark.parametrize("sums", [WideSums(torch.float64), CompensatedSums()], ids=["wide", "compensated"])
def test_derivatives_of_sums_are_those_of_plain_ones(sums):
    values, index = rows(torch.float64)
    values.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: sums.add_up(x / 1e6, index, 12), values)
    few = torch.randn(12, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: sums.take(x, index[:40]), few)


def test_gradients_of_what_is_read_are_summed_as_told():
    """Large gradients that cancel, and a small one that a plain sum loses."""
    index = torch.zeros(3, dtype=torch.int64)
    pulls = torch.tensor([[1e8], [1.0], [-1e8]])
    for sums, expected in ((PLAIN, 0.0), (WideSums(torch.float64), 1.0), (CompensatedSums(), 1.0)):
        values = torch.zeros(1, 1, requires_grad=True)
        (gradient,) = torch.autograd.grad(sums.take(values, index), values, pulls)
        assert gradient.item() == expected
