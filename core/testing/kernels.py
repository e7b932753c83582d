"""The checks of a kernel: its stages write and differentiate like the plain ones, alone and in whole models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final, final

import numpy as np

from halocline.aggregation import Form
from halocline.errors import KernelError
from halocline.evaluator.result import Result
from halocline.graph import JointGraph
from halocline.model import Backbone
from halocline.partition import whole
from halocline.program import Capabilities, FrozenModel, energies_and_gradients
from halocline.program.kernel import Kernel
from halocline.program.layout import lay_out
from halocline.program.replacement import exchanged
from halocline.program.stage_check import require_same_stage
from halocline.program.stage_example import finds_moving_state, nothing_owned, stage_inputs
from halocline.testing.comparison import energy_scale, force_scale, require_close
from halocline.testing.evaluate import divide, sum_parts
from halocline.testing.report import Failure, NotApplicable
from halocline.testing.structures import graph_of
from halocline.testing.subject import Subject

#: By how much errors of stages may add up in a model of several layers.
LAYERS: Final = 20.0


@final
@dataclass(frozen=True, slots=True)
class KernelSubject:
    """A kernel, and a backbone with stages that it may be for."""

    kernel: Kernel
    backbone: Backbone

    def cases(self) -> Iterator[tuple[FrozenModel, FrozenModel]]:
        """The plain model and the one with replaced stages, in every form and precision that the kernel is for.

        Raises:
            NotApplicable: the kernel is for no stage of the model.
        """
        stages = [stage for _, stage in self.backbone.stages() if self.kernel.suits(stage)]
        if not stages or "cpu" not in self.kernel.devices:
            raise NotApplicable(f"It is for no stage of {self.backbone.name!r} on the CPU.")
        for form in sorted(self.kernel.forms):
            for precision in self.kernel.precisions:
                reference = Capabilities.reference(form)
                plain = FrozenModel.freeze(self.backbone, precision, reference)
                other = FrozenModel.freeze(self.backbone, precision, reference)
                exchanged(self.backbone, other, {"under test": self.kernel}, "cpu", strict=True)
                yield plain, other


def check_stages(subject: KernelSubject) -> None:
    """Values and vector-Jacobian products on parts of several sizes, and where nothing is owned.

    Raises:
        Failure: they differ from those of the plain stage by more than is allowed.
    """
    for plain, other in subject.cases():
        replaced = dict(other.backbone.stages())
        for name, stage in plain.backbone.stages():
            if not subject.kernel.suits(stage):
                continue
            cases = stage_inputs(plain, name)
            cases.append(nothing_owned(plain, cases[0][0], stage.spec.hops))
            tolerance = subject.kernel.tolerances[plain.precision]
            moving = finds_moving_state(plain.backbone, name)
            try:
                require_same_stage(stage, replaced[name], cases, tolerance, moving=moving)
            except KernelError as error:
                where = f"{name} of {subject.backbone.name!r}, {plain.form.value}, {plain.precision.value}"
                raise Failure(f"Of {where}, {error}.") from error


def check_models(subject: KernelSubject) -> None:
    """Energies, forces and virial of whole structures and of parts that own some atoms, or none."""
    samples = Subject(subject.backbone).samples
    for plain, other in subject.cases():
        for name, atoms in samples.all().items():
            for parts in (None, np.random.default_rng(4).integers(0, 3, len(atoms))):
                graph = graph_of(atoms, subject.backbone.neighbours)
                found, expected = (
                    sum_parts(
                        partial(energies_and_gradients, frozen.backbone),
                        graph,
                        divide(graph, subject.backbone.hops, parts),
                        frozen.form,
                        frozen.precision,
                    )
                    for frozen in (other, plain)
                )
                _require_results(f"of the {name}", found, expected, subject.kernel.tolerances[plain.precision])


def check_batches(subject: KernelSubject) -> None:
    """Several structures in one call are what each is alone."""
    samples = Subject(subject.backbone).samples
    for plain, other in subject.cases():
        if plain.form is not Form.EDGES:
            continue
        graphs = [graph_of(atoms, subject.backbone.neighbours) for atoms in samples.all().values()]
        each = [
            lay_out(graph, divide(graph, subject.backbone.hops, None)[0], Form.EDGES, plain.precision)
            for graph in graphs
        ]
        joint = JointGraph.of(graphs)
        part = whole(len(joint.graph.structure), joint.graph.edges, subject.backbone.hops)
        together = energies_and_gradients(
            other.backbone, lay_out(joint.graph, part, Form.EDGES, plain.precision)
        ).energies
        for number, inputs in enumerate(each):
            alone = energies_and_gradients(other.backbone, inputs).energies
            found = together[joint.atoms[number] : joint.atoms[number + 1]]
            scale = max(float(len(alone)), float(alone.abs().sum()))
            tolerance = subject.kernel.tolerances[plain.precision] * scale
            require_close("Energies in a batch (eV)", found.numpy(), alone.numpy(), tolerance)


def _require_results(what: str, found: Result, expected: Result, tolerance: float) -> None:
    largest = LAYERS * tolerance
    require_close(f"Energies {what} (eV)", found.energies, expected.energies, largest * energy_scale(expected))
    require_close(f"Forces {what} (eV/Å)", found.forces, expected.forces, largest * force_scale(expected))
    if found.virial is not None and expected.virial is not None:
        scale = max(energy_scale(expected), float(np.abs(expected.virial).max()))
        require_close(f"Virials {what} (eV)", found.virial, expected.virial, largest * scale)


#: All checks of a kernel by name.
KERNEL_CHECKS = MappingProxyType({"stages": check_stages, "models": check_models, "batches": check_batches})
