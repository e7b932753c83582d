"""Whatever a stage may declare works through eager, ONNX, IPU programs, parts, ranks and batches alike."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from kinds import KINDS
from structures import random_structure
from test_domains import on_ranks
from test_partitioned import RandomOwners, require_equal

from halocline.aggregation import Form
from halocline.backends.ipu.rehearsal import rehearse
from halocline.backends.ipu.translate import from_lowered
from halocline.backends.torch.executor import TorchExecutor
from halocline.evaluator import LocalEvaluator
from halocline.graph import Structure
from halocline.lowering import lower
from halocline.model.build import build_with_seed
from halocline.partition import Division
from halocline.plugin import registry
from halocline.program import FrozenModel, Precision
from halocline.program.capacity import Capacity
from halocline.testing import check_backbone, check_executor
from halocline.testing.checks import BACKBONE_CHECKS

EVERY_KIND = pytest.mark.parametrize("kind", KINDS)

#: Checks of the suite that need the backbone to be a plugin.
OF_PLUGINS = {"saving", "loading"}

#: Of the largest value: structures evaluated together, see `AGREEMENT` of `potential.many`.
TOGETHER = 1e-10


@cache
def model(kind):
    return build_with_seed(KINDS[kind], KINDS[kind].example_config(), seed=1)


def structures():
    """Cells of several periodicities, some thinner than the cutoff, one larger than halos; one atom alone."""
    found = [random_structure(seed, atoms=14, edge=(2.5, 9.0)) for seed in range(4)]
    found.append(random_structure(5, atoms=40, pbc=True, edge=(8.0, 9.0)))
    found.append(random_structure(6, atoms=5, pbc=False))
    found.append(random_structure(7, atoms=1, pbc=False))
    return [Structure.from_atoms(atoms) for atoms in found]


def evaluator(kind, division=None, *, exchange=False, executor=None):
    executor = executor or TorchExecutor("cpu")
    return LocalEvaluator(model(kind), executor, Precision.FLOAT64, division, exchange=exchange)


@cache
def alone(kind):
    whole = evaluator(kind)
    return [whole.evaluate(structure) for structure in structures()]


def onnx():
    kind = registry().load("executor", "onnx")
    if not kind.diagnose().usable:
        pytest.skip(kind.diagnose().reason)
    return kind(device="cpu", threads=1)


@EVERY_KIND
def test_the_suite_passes(kind):
    checks = [name for name in BACKBONE_CHECKS if name not in OF_PLUGINS]
    report = check_backbone(model(kind), checks=checks)
    assert report.ok, [result for result in report.results if result.status == "failed"]


@EVERY_KIND
def test_onnx_runtime_gives_the_same(kind):
    report = check_executor(onnx(), model(kind), checks=["results", "stages"])
    assert report.ok, report.results


@EVERY_KIND
def test_ipu_programs_pass_their_rehearsal(kind):
    backbone = model(kind)
    room = Capacity(levels=(16,) * (backbone.hops + 1), width=16, transposed=16)
    lowered = lower(FrozenModel.freeze(backbone, Precision.FLOAT32, Form.TABLE), capacity=room)
    program = from_lowered(lowered, dict(backbone.named_parameters()))
    assert rehearse(program, backbone, room) == ()


@pytest.mark.parametrize("exchange", [False, True], ids=["recompute", "exchange"])
@EVERY_KIND
def test_parts_are_the_whole(kind, exchange):
    for seed, (structure, expected) in enumerate(zip(structures(), alone(kind), strict=True)):
        for parts in (2, 40):
            division = Division("random", RandomOwners(seed), parts)
            require_equal(evaluator(kind, division, exchange=exchange).evaluate(structure), expected)


@pytest.mark.parametrize("exchange", [False, True], ids=["recompute", "exchange"])
@EVERY_KIND
def test_ranks_are_the_whole(kind, exchange):
    for seed, (structure, expected) in enumerate(zip(structures(), alone(kind), strict=True)):
        owners = np.random.default_rng(seed).integers(0, 3, len(structure))
        require_equal(on_ranks(model(kind), structure, owners, 3, 2, exchange), expected)


@EVERY_KIND
def test_batches_are_what_each_is_alone(kind):
    for found, expected in zip(evaluator(kind).evaluate_many(structures()), alone(kind), strict=True):
        for name in ("energies", "forces", "virial"):
            reference = getattr(expected, name)
            allowed = TOGETHER * max(1.0, np.abs(reference).max())
            np.testing.assert_allclose(getattr(found, name), reference, rtol=0, atol=allowed)
