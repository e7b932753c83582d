"""Which kernels are installed, and which stages of which backbones they are for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, final

from halocline.isolation import call
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.program.replacement import is_disabled, load_kernel


@final
@dataclass(frozen=True, slots=True)
class KernelExamination:
    """What was found out about one kernel.

    Attributes:
        kernel: ``distribution/name``.
        enabled: whether it is not switched off.
        version: of the kernel.
        exact: whether it is used without being asked for.
        devices: kinds of device.
        precisions: likewise.
        tolerances: by precision, how far stages may be off the plain ones, relative to the largest value.
        stages: by backbone, those that it is for in the smallest models.
        reason: why nothing is known of it; empty otherwise.
    """

    kernel: str
    enabled: bool
    version: int = 0
    exact: bool = True
    devices: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    tolerances: dict[str, float] | None = None
    stages: dict[str, list[str]] | None = None
    reason: str = ""


def examine_kernels(seconds: float) -> list[KernelExamination]:
    """Examine all kernels, each in a process of its own.

    Args:
        seconds: after which one counts as hanging.
    """
    found = []
    for component in registry().components("kernel"):
        outcome = call("halocline.doctor.kernels:examine", {"kernel": component.qualified_name}, seconds)
        if outcome.values:
            found.append(KernelExamination(**outcome.values[0]))
        else:
            enabled, reason = not is_disabled(component, os.environ), outcome.failure
            found.append(KernelExamination(component.qualified_name, enabled, reason=reason))
    return found


def examine(argument: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Load a kernel, and ask it for which stages of the smallest models it is.

    Args:
        argument: ``kernel``, its full name.

    Yields:
        The fields of a `KernelExamination`.
    """
    name = argument["kernel"]
    kernel = load_kernel(name)
    stages = {}
    for backbone in registry().components("backbone"):
        kind = registry().load("backbone", backbone.qualified_name)
        model = build_backbone(backbone.qualified_name, kind.example_config())
        if own := [stage for stage, module in model.stages() if kernel.suits(module)]:
            stages[backbone.name] = own
    component = next(each for each in registry().components("kernel") if each.qualified_name == name)
    yield asdict(
        KernelExamination(
            kernel=name,
            enabled=not is_disabled(component, os.environ),
            version=kernel.version,
            exact=kernel.exact,
            devices=kernel.devices,
            precisions=tuple(each.value for each in kernel.precisions),
            tolerances={each.value: allowed for each, allowed in kernel.tolerances.items()},
            stages=stages,
        )
    )
