"""Faster stages take the place of plain ones: found among plugins, checked, and told of."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from halocline.errors import KernelError, PluginError, UsageError
from halocline.model.backbone import Backbone
from halocline.model.stage import Stage, State
from halocline.plugin import Component, registry
from halocline.program.capabilities import Capabilities, Precision
from halocline.program.inputs import ProgramInputs
from halocline.program.kernel import Kernel
from halocline.program.stage_check import require_same_stage
from halocline.program.stage_example import finds_moving_state, stage_inputs

if TYPE_CHECKING:
    from halocline.program.frozen import FrozenModel

_logger = logging.getLogger(__name__)

#: Environment variable that names kernels which are not to be used, separated by commas; ``all`` is every one.
DISABLED: Final = "HALOCLINE_DISABLE_KERNELS"


@final
@dataclass(frozen=True, slots=True)
class Replacement:
    """A stage that was replaced. One that was compressed may have been replaced once more, by an exact kernel.

    Attributes:
        stage: its name, as in `Backbone.stages`.
        kernel: ``distribution/name`` of what made the other one.
        version: of the kernel.
        exact: whether the two are equal but for rounding.
        stated: by how much values and vector-Jacobian products may differ from what was replaced, relative to the
            largest of them: from the plain stage's, or from those of the compressed one that an exact kernel runs.
        measured: by how much they did where the stage was checked.
    """

    stage: str
    kernel: str
    version: int
    exact: bool
    stated: float
    measured: float


def told(replaced: Sequence[Replacement]) -> list[str]:
    """A sentence for each kernel: what it runs, and how near what it replaces it was seen to be."""
    sentences = []
    for kernel in dict.fromkeys(each.kernel for each in replaced):
        own = [each for each in replaced if each.kernel == kernel]
        stages, measured = ", ".join(each.stage for each in own), max(each.measured for each in own)
        sentences.append(
            f"The kernel {kernel} (version {own[0].version}) runs {stages}, off what it replaces by "
            f"{measured:.0e} of the largest value where {own[0].stated:.0e} is allowed."
        )
    return sentences


def kernels_of(replaced: Sequence[Replacement]) -> list[dict[str, Any]]:
    """Which kernels ran, for results: name, version, whether it is exact, and how many stages it runs."""
    return [
        {"kernel": kernel, "version": version, "exact": exact, "stages": stages}
        for (kernel, version, exact), stages in Counter(
            (each.kernel, each.version, each.exact) for each in replaced
        ).items()
    ]


def identity_of(replaced: Sequence[Replacement]) -> dict[str, int]:
    """The same as entries that must be equal where something is gone on with."""
    found = dict[str, int]()
    for each in kernels_of(replaced):
        found |= {f"kernel {each['kernel']}": each["version"], f"stages of {each['kernel']}": each["stages"]}
    return found


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
        UsageError: compression was asked for of an executor that takes no kernels.
    """
    capabilities, kind = frozen.capabilities, device.partition(":")[0]
    if not capabilities.kernels:
        if compress:
            raise UsageError(
                "Compression takes kernels, and the backend is told to use none: leave one of the two; of a "
                "compressed model, take the exact one."
            )
        return ()
    kernels = {
        name: kernel
        for name, kernel in _kernels(os.environ)
        if (kernel.exact or compress) and _fits(kernel, capabilities, frozen.precision, kind)
    }
    replaced = exchanged(original, frozen, kernels, device)
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

    A stage is compressed first, if it is at all, and what comes out is given to the exact kernels: one of them may
    run tables, too. Each replacement is held against what it replaces: an exact one as it will run, another one in
    float64, where what it is off by is not lost in rounding; one that calls operators, or that says that it runs
    other code there, on the device, any other on the CPU.

    Args:
        original: the model before it was cast.
        frozen: its copy.
        kernels: by name; of each kind, the first that suits a stage, pays and can replace it does, general ones
            last.
        device: on which it will run; the frozen model itself stays on the CPU.
        strict: let no kernel off that suits a stage and does not replace it, whether or not that pays.

    Raises:
        KernelError: an inexact kernel cannot replace a stage; or any, where that is strict.
    """
    rounds = [
        sorted(((name, kernel) for name, kernel in kernels.items() if kernel.exact is exact), key=_is_general)
        for exact in (False, True)
    ]
    plain, found, made = dict(frozen.backbone.stages()), list[Replacement](), dict[str, Stage]()
    wide = _in_float64(original, frozen) if any(not kernel.exact for kernel in kernels.values()) else frozen
    refused: dict[tuple[str, str], list[str]] = {}
    # All are made before one is exchanged: each is checked on state that plain stages wrote.
    for stage, module in original.stages():
        current = _Current(stage, module, plain[stage])
        for name, kernel in itertools.chain(*rounds):
            if not kernel.suits(current.definition) or kernel.exact in current.done:
                continue
            if not strict and not kernel.pays(current.definition):
                continue
            try:
                checked = frozen if kernel.exact else wide
                measured = current.replace(kernel, frozen.precision, checked, device)
            except KernelError as error:
                if strict or not kernel.exact:
                    raise KernelError(_refusal(name, [stage], original, str(error))) from error
                refused.setdefault((name, str(error)), []).append(stage)
            else:
                if measured is not None:
                    stated = kernel.tolerances[checked.precision]
                    found.append(Replacement(stage, name, kernel.version, kernel.exact, stated, measured))
                    made[stage] = current.running
    for (name, reason), stages in refused.items():
        message = _refusal(name, stages, original, reason)
        _logger.warning("%s The plain stage runs; %s=%s silences this.", message, DISABLED, name)
    for stage, module in made.items():
        _exchange(frozen.backbone, plain[stage], module)
    return tuple(found)


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


class _Current:
    """A stage on its way through the kernels.

    Args:
        name: of the stage.
        definition: what kernels are given a copy of.
        running: the same in the precision of the frozen model.
    """

    def __init__(self, name: str, definition: Stage, running: Stage) -> None:
        self.name, self.definition, self.running = name, definition, running
        self.done: set[bool] = set()

    def replace(self, kernel: Kernel, precision: Precision, checked: FrozenModel, device: str) -> float | None:
        """Have a faster stage take the place of this one.

        Args:
            kernel: which makes it.
            precision: in which it will run.
            checked: the plain model, in the precision that it is checked in.
            device: on which it will run.

        Returns:
            How far it is off where it was checked; None if the kernel had nothing to do in it.

        Raises:
            KernelError: there is none, or it computes something else.
        """
        kind = device.partition(":")[0]
        definition = kernel.replace(copy.deepcopy(self.definition).double(), checked.form, precision, kind)
        running, found = (
            copy.deepcopy(definition).to(each.torch).eval().requires_grad_(False)
            for each in (precision, checked.precision)
        )
        before = self.running if kernel.exact else dict(checked.backbone.stages())[self.name]
        cases = stage_inputs(checked, self.name)
        # Operators run by torch, and by other code than on the CPU.
        if (kernel.operators or kernel.other_code_on_device) and kind != "cpu":
            before, found = copy.deepcopy(before).to(device), found.to(device)
            cases = [_moved(*case, device) for case in cases]
        moving, tolerance = finds_moving_state(checked.backbone, self.name), kernel.tolerances[checked.precision]
        measured = require_same_stage(before, found, cases, tolerance, moving=moving)
        if not kernel.took_part(found):
            return None
        self.definition, self.running = definition, running
        self.done.add(kernel.exact)
        return measured


def _moved(state: State, inputs: ProgramInputs, device: str) -> tuple[State, ProgramInputs]:
    """A case on another device."""
    atoms, edges = ({name: x.to(device) for name, x in each.items()} for each in (state.atoms, state.edges))
    return State(atoms, edges), inputs.mapped(lambda tensor: tensor.to(device))


def _in_float64(original: Backbone, frozen: FrozenModel) -> FrozenModel:
    """The plain model in float64, where rounding does not hide by how much something else is off."""
    backbone = copy.deepcopy(original).double().eval().requires_grad_(False)
    return dataclasses.replace(frozen, backbone=backbone, precision=Precision.FLOAT64)


def _is_general(item: tuple[str, Kernel]) -> bool:
    return item[1].general


def _refusal(name: str, stages: Sequence[str], model: Backbone, reason: str) -> str:
    return f"The kernel {name} cannot run {', '.join(stages)} of {model.name!r}: {reason}."


def _exchange(backbone: Backbone, plain: Stage, made: Stage) -> None:
    """Put a stage in the place of another, wherever that is among the modules of the backbone."""
    for path, module in list(backbone.named_modules(remove_duplicate=False)):
        if module is plain:
            backbone.set_submodule(path, made)
