"""The conformance suite as plain functions."""

from __future__ import annotations

from collections.abc import Iterable

from halocline.executor import Executor
from halocline.exporter import Exporter
from halocline.model import Backbone
from halocline.model.pruner import Pruner
from halocline.partition import Partitioner
from halocline.program.kernel import Kernel
from halocline.testing.checks import BACKBONE_CHECKS
from halocline.testing.executors import EXECUTOR_CHECKS, ExecutorSubject
from halocline.testing.exporters import EXPORTER_CHECKS, ExporterSubject
from halocline.testing.kernels import KERNEL_CHECKS, KernelSubject
from halocline.testing.partitioners import PARTITIONER_CHECKS
from halocline.testing.pruners import PRUNER_CHECKS, PrunerSubject
from halocline.testing.report import Report, run_checks
from halocline.testing.subject import Subject


def check_backbone(backbone: Backbone, *, checks: Iterable[str] | None = None) -> Report:
    """Check that a backbone keeps the stage contract.

    Args:
        backbone: any instance, trained or not; it stays as it is. Small ones are checked in seconds.
        checks: names of checks, such as ``forces`` or ``receptive-field``; all by default.

    Raises:
        UsageError: there is no check of such a name.

    Example:
        >>> from halocline.plugins.backbones.lennard_jones import LennardJones
        >>> check_backbone(LennardJones.from_config(LennardJones.example_config()), checks=["one-atom"]).ok
        True
    """
    return run_checks(BACKBONE_CHECKS, Subject(backbone), type(backbone).__name__, checks)


def check_executor(executor: Executor, backbone: Backbone, *, checks: Iterable[str] | None = None) -> Report:
    """Check that an executor gives what the eager definition gives.

    Args:
        executor: on the device that is to be checked.
        backbone: what to run on it.
        checks: names of checks; all by default.

    Raises:
        UsageError: there is no check of such a name.
    """
    return run_checks(EXECUTOR_CHECKS, ExecutorSubject.of(executor, backbone), type(executor).__name__, checks)


def check_exporter(exporter: Exporter, backbone: Backbone, *, checks: Iterable[str] | None = None) -> Report:
    """Check that an exporter writes one file, which describes the model that is in it.

    Args:
        exporter: with its options.
        backbone: what to export; it stays as it is.
        checks: names of checks; all by default.

    Raises:
        UsageError: there is no check of such a name.
    """
    return run_checks(EXPORTER_CHECKS, ExporterSubject(exporter, backbone), type(exporter).__name__, checks)


def check_kernel(kernel: Kernel, backbone: Backbone, *, checks: Iterable[str] | None = None) -> Report:
    """Check that the stages which a kernel makes compute what the plain ones do.

    Args:
        kernel: with the tolerances that it states.
        backbone: whose stages it is to replace; it stays as it is.
        checks: names of checks; all by default.

    Raises:
        UsageError: there is no check of such a name.
    """
    return run_checks(KERNEL_CHECKS, KernelSubject(kernel, backbone), type(kernel).__name__, checks)


def check_partitioner(partitioner: Partitioner, *, checks: Iterable[str] | None = None) -> Report:
    """Check that a partitioner gives every atom one owner.

    Raises:
        UsageError: there is no check of such a name.
    """
    return run_checks(PARTITIONER_CHECKS, partitioner, type(partitioner).__name__, checks)


def check_pruner(pruner: Pruner, backbone: Backbone, *, checks: Iterable[str] | None = None) -> Report:
    """Check that a pruner returns a real, smaller model.

    Args:
        pruner: with its options.
        backbone: what to prune; it stays as it is.
        checks: names of checks; all by default.

    Raises:
        UsageError: there is no check of such a name.
    """
    return run_checks(PRUNER_CHECKS, PrunerSubject(pruner, backbone), type(pruner).__name__, checks)
