"""Faster stages take the place of plain ones: found among plugins, checked, and told of."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from halocline.errors import KernelError, PluginError
from halocline.model.backbone import Backbone
from halocline.model.stage import Stage
from halocline.plugin import Component, registry
from halocline.program.capabilities import Capabilities, Precision
from halocline.program.kernel import Kernel
from halocline.program.stage_check import require_same_stage
from halocline.program.stage_example import stage_inputs

if TYPE_CHECKING:
    from halocline.program.frozen import FrozenModel

_logger = logging.getLogger(__name__)

#: Environment variable that names kernels which are not to be used, separated by commas; ``all`` is every one.
DISABLED: Final = "HALOCLINE_DISABLE_KERNELS"


@final
@dataclass(frozen=True, slots=True)
class Replacement:
    """A stage that was replaced.

    Attributes:
        stage: its name, as in `Backbone.stages`.
        kernel: ``distribution/name`` of what made the other one.
        version: of the kernel.
        exact: whether the two are equal but for rounding.
        stated: by how much values and vector-Jacobian products may differ, relative to the largest of them.
        measured: by how much they did where the stage was checked.
    """

    stage: str
    kernel: str
    version: int
    exact: bool
    stated: float
    measured: float


def told(replaced: Sequence[Replacement]) -> list[str]:
    """A sentence for each kernel: what it runs, and how near the plain stages it was seen to be."""
    sentences = []
    for kernel in dict.fromkeys(each.kernel for each in replaced):
        own = [each for each in replaced if each.kernel == kernel]
        stages, measured = ", ".join(each.stage for each in own), max(each.measured for each in own)
        sentences.append(
            f"The kernel {kernel} (version {own[0].version}) runs {stages}, off the plain stages by "
            f"{measured:.0e} of the largest value where {own[0].stated:.0e} is allowed."
        )
    return sentences


def replace_stages(
    original: Backbone, frozen: FrozenModel, device: str, *, compress: bool
) -> tuple[Replacement, ...]:
    """Put faster stages in the place of plain ones, in a model that was just frozen.

    What cannot be replaced by an exact kernel stays as it is, with a warning that says why.

    Args:
        original: the model before it was cast.
        frozen: its copy, in which stages are exchanged.
        device: on which it will run.
        compress: use kernels that are not exact, too.

    Raises:
        KernelError: compression was asked for, and cannot be had.
        PluginError: a kernel cannot be imported, or is none.
    """
    capabilities, kind = frozen.capabilities, device.partition(":")[0]
    if not capabilities.kernels:
        return ()
    kernels = {
        name: kernel
        for name, kernel in _kernels(os.environ)
        if (kernel.exact or compress) and _fits(kernel, capabilities, frozen.precision, kind)
    }
    replaced = exchanged(original, frozen, kernels, kind)
    if compress and all(each.exact for each in replaced):
        raise KernelError(
            f"The model {original.name!r} cannot be compressed for {kind} in {frozen.precision.value}: none of "
            "its stages has radial functions that a kernel could replace by a table. Leave compress away."
        )
    for sentence in told(replaced):
        _logger.info("%s", sentence)
    return replaced


def exchanged(
    original: Backbone, frozen: FrozenModel, kernels: Mapping[str, Kernel], device: str, *, strict: bool = False
) -> tuple[Replacement, ...]:
    """Exchange the stages of a frozen model that some kernel is for.

    Args:
        original: the model before it was cast.
        frozen: its copy.
        kernels: by name; the first that suits a stage and can replace it does.
        device: kind of device.
        strict: let no kernel off that suits a stage and does not replace it.

    Raises:
        KernelError: an inexact kernel cannot replace a stage; or any, where that is strict.
    """
    plain, found = dict(frozen.backbone.stages()), []
    # All are made before one is exchanged: each is checked on state that plain stages wrote.
    for stage, module in original.stages():
        for name, kernel in kernels.items():
            if not kernel.suits(module):
                continue
            try:
                made, measured = _replaced(kernel, stage, module, frozen, device)
            except KernelError as error:
                message = f"The kernel {name} cannot run {stage} of {original.name!r}: {error}."
                if strict or not kernel.exact:
                    raise KernelError(message) from error
                _logger.warning("%s The plain stage runs; %s=%s silences this.", message, DISABLED, name)
            else:
                stated = kernel.tolerances[frozen.precision]
                found.append((Replacement(stage, name, kernel.version, kernel.exact, stated, measured), made))
                break
    for replacement, made in found:
        _exchange(frozen.backbone, plain[replacement.stage], made)
    return tuple(replacement for replacement, _ in found)


def is_disabled(component: Component, environment: Mapping[str, str]) -> bool:
    """Whether a kernel is switched off."""
    disabled = environment.get(DISABLED, "").split(",")
    return bool({"all", component.name, component.qualified_name} & set(disabled))


def load_kernel(name: str) -> Kernel:
    """A kernel by its full name.

    Raises:
        PluginError: it cannot be imported, or is none.
    """
    kind = registry().load("kernel", name)
    if not (isinstance(kind, type) and issubclass(kind, Kernel)):
        raise PluginError(f"The kernel {name} is no subclass of halocline.program.kernel.Kernel.")
    return kind()


def _kernels(environment: Mapping[str, str]) -> Iterator[tuple[str, Kernel]]:
    """All that are installed and not switched off, by their full names."""
    for component in registry().components("kernel"):
        if not is_disabled(component, environment):
            yield component.qualified_name, load_kernel(component.qualified_name)


def _fits(kernel: Kernel, capabilities: Capabilities, precision: Precision, device: str) -> bool:
    runs = capabilities.custom_operators or not kernel.operators
    return (
        runs and capabilities.form in kernel.forms and precision in kernel.precisions and device in kernel.devices
    )


def _replaced(kernel: Kernel, stage: str, module: Stage, frozen: FrozenModel, device: str) -> tuple[Stage, float]:
    """The faster stage, which was seen to compute the same, and how far it is off.

    Raises:
        KernelError: there is none, or it computes something else.
    """
    form, precision = frozen.capabilities.form, frozen.precision
    made = kernel.replace(copy.deepcopy(module).double(), form, precision, device)
    made = made.to(precision.torch).eval().requires_grad_(False)
    plain = dict(frozen.backbone.stages())[stage]
    off = require_same_stage(plain, made, stage_inputs(frozen, stage), kernel.tolerances[precision])
    return made, off


def _exchange(backbone: Backbone, plain: Stage, made: Stage) -> None:
    """Put a stage in the place of another, wherever that is among the modules of the backbone."""
    for path, module in list(backbone.named_modules(remove_duplicate=False)):
        if module is plain:
            backbone.set_submodule(path, made)
