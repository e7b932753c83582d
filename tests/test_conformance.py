"""Everything that is installed keeps its contract."""

from __future__ import annotations

from itertools import product
from typing import ClassVar

import pytest

from halocline.errors import UsageError
from halocline.model.build import build_backbone
from halocline.model.pruner import make_pruner
from halocline.plugin import registry
from halocline.spec import Spec
from halocline.testing import BackboneTests, ExecutorTests, ExporterTests, PartitionerTests, PrunerTests
from halocline.testing.executors import EXECUTOR_CHECKS

BACKBONES = sorted(registry().names("backbone"))

#: Choices of a config that change what a backbone promises.
VARIANTS = {
    "schnet": {"nearest": {"neighbours": "nearest", "nearest_count": 6}},
    "m3gnet": {
        "centre": {"sums": "centre"},
        "mattersim": {"dialect": "mattersim", "sums": "centre", "radial": "smooth", "max_l": 4, "max_n": 4},
    },
    "mace": {
        "foundation": {"first_block": "agnostic", "density": True, "agnesi": True, "repulsion": True},
        "scalars": {"hidden_degree": 0, "max_degree": 3, "correlation": 2, "layers": 3},
    },
    "nequip": {
        "every-irrep": {"irreps": "3x0e+2x0o+2x1o+2x1e", "max_degree": 1, "layers": 3, "normalised": True},
        "heads": {"biased": True, "heads": ["a", "b"], "head_energies": [0.0, 0.0, 1.0, 2.0]},
    },
    # The middle one of three layers finds what another left, and leaves it to the next.
    "chgnet": {"first-version": {"layers": 3, "norm": False, "offsets": True}},
    "orb": {
        "direct": {"forces": "direct", "stress": True},
        "version-2": {"version": 2, "forces": "direct", "stress": True, "repulsion": False},
        "atoms": {"energy": "atoms", "charged": True},
    },
}

#: Backbones whose variants take a minute each.
SLOW = {"m3gnet", "mace", "nequip", "chgnet", "orb", "escaip", "jmp", "tensornet"}

#: Of these, those that are left to `make exhaustive`: tests of parity have their options as well.
EXHAUSTIVE = {
    *("m3gnet-centre", "mace-scalars", "mace-foundation", "nequip-every-irrep", "chgnet-first-version"),
    *("orb-direct", "orb-version-2", "orb-atoms"),
}


def example(name, **changes):
    """Build a backbone from its example config."""
    return build_backbone(name, registry().load("backbone", name).example_config() | changes)


#: JMP is lowered for a minute and more; its own tests see what costs less.
COSTLY = {"jmp": [pytest.mark.slow, pytest.mark.exhaustive]}


@pytest.fixture(params=[pytest.param(name, marks=COSTLY.get(name, [])) for name in BACKBONES])
def backbone(request):
    return example(request.param)


class TestBackbones(BackboneTests):
    pass


def variants():
    """Every variant, by its names."""
    for name, known in VARIANTS.items():
        for variant in known:
            known_as = f"{name}-{variant}"
            marks = [pytest.mark.slow] if name in SLOW else []
            marks += [pytest.mark.exhaustive] if known_as in EXHAUSTIVE else []
            yield pytest.param((name, variant), id=known_as, marks=marks)


class TestVariants(BackboneTests):
    @pytest.fixture(params=variants())
    def backbone(self, request):
        name, variant = request.param
        return example(name, **VARIANTS[name][variant])


@pytest.mark.slow
@pytest.mark.exhaustive
class TestEvenNequIP(BackboneTests):
    expected_failures: ClassVar = {"reflection": "without odd irreps a molecule and its mirror image may differ"}

    @pytest.fixture
    def backbone(self):
        even = {"irreps": "4x0e+3x1e+2x2e", "max_degree": 2, "parity": "even", "solid": True}
        return example("nequip", layers=3, envelope="xplor", xplor_from=2.4, **even)  # two cannot tell


@pytest.mark.slow
@pytest.mark.exhaustive
class TestDirectEScAIP(BackboneTests):
    @pytest.fixture
    def backbone(self):
        return example("escaip", forces="direct")


@pytest.mark.slow
@pytest.mark.exhaustive
class TestBesselM3GNet(BackboneTests):
    expected_failures: ClassVar = {
        "smoothness": "spherical Bessel functions reach zero at the cutoff with a slope, so that forces jump there"
    }

    @pytest.fixture
    def backbone(self):
        return example("m3gnet", radial="bessel")


def executors():
    """Every executor with every backbone, and every variant that it declares with one; variants compile.

    That variants run the other backbones as well is for the matrix to say, where each compiles once.
    """
    for name in sorted(registry().names("executor")):
        for variant in registry().load("executor", name).variants:
            spec = f"{name}:{variant}" if variant else name
            yield from ((spec, each) for each in (["schnet"] if variant else BACKBONES))


def marks(check, spec, backbone):
    """When a check of an executor with a backbone is run.

    Lowering large backbones takes a minute; that they are lowered right is seen by their results, those of their
    stages by the stages of MACE.
    """
    found = [pytest.mark.slow] if ":" in spec else []
    repeated = check != "results" and spec == "onnx" and backbone in SLOW - {"mace"}
    costly = spec == "onnx" and backbone in COSTLY
    return found + [pytest.mark.slow, pytest.mark.exhaustive] * (
        repeated or costly or spec.endswith("compile=aot")
    )


@pytest.mark.timeout(2400)  # compiling may take minutes where others compute as well
class TestExecutors(ExecutorTests):
    def pytest_generate_tests(self, metafunc):
        cases = [
            pytest.param(check, (spec, each), id=f"{check}-{spec}-{each}", marks=marks(check, spec, each))
            for spec, each in executors()
            for check in EXECUTOR_CHECKS
        ]
        metafunc.parametrize(("check", "pair"), cases)

    @pytest.fixture
    def backbone(self, pair):
        return example(pair[1])

    @pytest.fixture
    def executor(self, pair):
        spec = Spec.parse(pair[0])
        kind = registry().load("executor", spec.name)
        diagnosis = kind.diagnose()
        if not (diagnosis.usable or spec.options):
            pytest.skip(diagnosis.reason)
        try:
            return spec.build(kind, device="cpu")
        except UsageError as error:
            if not spec.options:  # it said that it can be used
                raise
            pytest.skip(str(error))


#: Options of exporters for backbones whose programs with the default room need more memory than there is.
ROOM = {("ipu", "jmp"): {"atoms": 16, "neighbours": 8}}


def exports():
    """Every exporter with every backbone; compiling takes minutes."""
    for name, each in product(sorted(registry().names("exporter")), BACKBONES):
        marks = [pytest.mark.exhaustive] if name == "aot" or each in COSTLY else []
        yield pytest.param((name, each), id=f"{name}-{each}", marks=marks)


@pytest.mark.slow
class TestExporters(ExporterTests):
    @pytest.fixture(params=exports())
    def pair(self, request):
        return request.param

    @pytest.fixture
    def backbone(self, pair):
        return example(pair[1])

    @pytest.fixture
    def exporter(self, pair):
        try:
            return registry().load("exporter", pair[0])(**ROOM.get(pair, {}))
        except UsageError as error:
            pytest.skip(str(error))


class TestPartitioners(PartitionerTests):
    @pytest.fixture(params=sorted(registry().names("partitioner")))
    def partitioner(self, request):
        try:
            return registry().load("partitioner", request.param)()
        except UsageError as error:
            pytest.skip(str(error))


class TestPruners(PrunerTests):
    @pytest.fixture(params=sorted(registry().names("pruner")))
    def pruner(self, request):
        return make_pruner(f"{request.param}:{registry().load('pruner', request.param).example}")
