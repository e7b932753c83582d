"""Everything that is installed keeps its contract."""

from __future__ import annotations

import pytest

from halocline.errors import UsageError
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.testing import BackboneTests, ExecutorTests, ExporterTests, PartitionerTests, PrunerTests

BACKBONES = sorted(registry().names("backbone"))

#: Choices of a config that change what a backbone promises.
VARIANTS = {"schnet": {"nearest": {"neighbours": "nearest", "nearest_count": 6}}}


def example(name, **changes):
    """Build a backbone from its example config."""
    return build_backbone(name, registry().load("backbone", name).example_config() | changes)


@pytest.fixture(params=BACKBONES)
def backbone(request):
    return example(request.param)


class TestBackbones(BackboneTests):
    pass


class TestVariants(BackboneTests):
    @pytest.fixture(params=[(name, variant) for name, known in VARIANTS.items() for variant in known])
    def backbone(self, request):
        name, variant = request.param
        return example(name, **VARIANTS[name][variant])


class TestExecutors(ExecutorTests):
    @pytest.fixture(params=sorted(registry().names("executor")))
    def executor(self, request):
        executor = registry().load("executor", request.param)
        diagnosis = executor.diagnose()
        if not diagnosis.usable:
            pytest.skip(diagnosis.reason)
        return executor(device="cpu")


class TestExporters(ExporterTests):
    @pytest.fixture(params=sorted(registry().names("exporter")))
    def exporter(self, request):
        try:
            return registry().load("exporter", request.param)()
        except UsageError as error:
            pytest.skip(str(error))


class TestPartitioners(PartitionerTests):
    @pytest.fixture(params=sorted(registry().names("partitioner")))
    def partitioner(self, request):
        return registry().load("partitioner", request.param)()


class TestPruners(PrunerTests):
    @pytest.fixture(params=sorted(registry().names("pruner")))
    def pruner(self, request):
        return registry().load("pruner", request.param)(layers=1)
