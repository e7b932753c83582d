"""The public conformance suite: does a backbone, kernel, executor or another component keep its contract?

As functions that return a `Report`, or as pytest classes to subclass.
"""

from halocline.testing.cases import BackboneTests, ExecutorTests, ExporterTests, PartitionerTests, PrunerTests
from halocline.testing.plugin import check_plugin
from halocline.testing.report import CheckResult, Report
from halocline.testing.suite import (
    check_backbone,
    check_executor,
    check_exporter,
    check_kernel,
    check_partitioner,
    check_pruner,
)

__all__ = [
    "BackboneTests",
    "CheckResult",
    "ExecutorTests",
    "ExporterTests",
    "PartitionerTests",
    "PrunerTests",
    "Report",
    "check_backbone",
    "check_executor",
    "check_exporter",
    "check_kernel",
    "check_partitioner",
    "check_plugin",
    "check_pruner",
]
