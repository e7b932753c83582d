"""What the program computes: energies and forces of the model, with all that must hold for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from halocline.backends.ipu.check.call import Violation
from halocline.backends.ipu.rehearsal.subject import RehearsedProgram
from halocline.errors import NotFiniteError
from halocline.evaluator.result import Result
from halocline.graph import JointGraph, NeighbourList
from halocline.testing.comparison import energy_scale, force_scale, require_close
from halocline.testing.report import Failure
from halocline.testing.tolerances import FLOAT32_ENERGY, FLOAT32_FORCE, FLOAT32_FORCE_FLOOR

#: Two results in float32 differ by up to twice what each differs from float64.
TWO_RESULTS: Final = 2.0

#: Å along the force. Rounding of the energies in float32 outweighs truncation up to about this step.
STEP: Final = 1e-2

#: Slopes of energies in float32, relative to the norm of all forces: energies of some eV are known to 1e-6 eV or
#: so, and h² f'''/6 is below a thousandth; a sign or a missing term shows at once.
SLOPE: Final = 1e-2


def rehearse_numerics(subject: RehearsedProgram) -> Iterator[Violation]:
    """Run every check on the largest chain that fits."""
    for name, check in _CHECKS.items():
        try:
            check(subject)
        except (Failure, NotFiniteError) as failure:
            yield Violation("numerics", name, str(failure))


def _check_float64(subject: RehearsedProgram) -> None:
    expected = subject.evaluate_exactly(subject.graph)
    _require_near("in the program and in the model in float64", subject.evaluate(subject.graph), expected, 1.0)


def _check_forces(subject: RehearsedProgram) -> None:
    """Along the force itself, and along a random direction."""
    structure, forces = subject.graph.structure, subject.evaluate(subject.graph).forces
    size = float(np.linalg.norm(forces))
    if size == 0.0:
        return  # a lone atom
    random = np.random.default_rng(0).normal(size=forces.shape)
    for direction in (forces / size, random / np.linalg.norm(random)):
        ends = [subject.moved(structure, structure.positions + sign * STEP * direction) for sign in (1.0, -1.0)]
        above, below = (subject.evaluate(graph).energy for graph in ends)
        what = "Forces and minus the gradient of the energy (eV/Å)"
        require_close(what, (above - below) / (2.0 * STEP), -float((forces * direction).sum()), SLOPE * size)


def _check_sum(subject: RehearsedProgram) -> None:
    result = subject.evaluate(subject.graph)
    allowed = len(result.forces) * _force_tolerance(result)
    require_close("The sum of all forces, and zero (eV/Å),", result.forces.sum(0), np.zeros(3), allowed)


def _check_rotation(subject: RehearsedProgram) -> None:
    if not subject.backbone.invariant:
        return  # to such a model it is another structure
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    structure, result = subject.graph.structure, subject.evaluate(subject.graph)
    turned = subject.evaluate(subject.moved(structure, structure.positions @ turn))
    expected = replace(result, forces=result.forces @ turn)
    _require_near("after a rotation", turned, expected, TWO_RESULTS)


def _check_permutation(subject: RehearsedProgram) -> None:
    structure, result = subject.graph.structure, subject.evaluate(subject.graph)
    order = np.random.default_rng(2).permutation(len(structure))
    conditions = {name: values[order] for name, values in structure.conditions.items()}
    permuted = replace(structure, numbers=structure.numbers[order], positions=structure.positions[order])
    permuted = permuted.under(conditions)
    graph = NeighbourList(subject.backbone.neighbours).graph(permuted)
    expected = replace(result, energies=result.energies[order], forces=result.forces[order])
    _require_near("after a permutation", subject.evaluate(graph), expected, TWO_RESULTS)


def _check_packing(subject: RehearsedProgram) -> None:
    """Two structures in one program."""
    atoms = len(subject.graph.structure)
    if atoms < 2:
        return  # there is no room for two
    graphs = [subject.largest(size) for size in (atoms - atoms // 3, max(1, atoms // 3))]
    together = subject.run_edges(JointGraph.of(graphs).graph)
    alone = [subject.run_edges(graph) for graph in graphs]
    names = ("energies", "gradients", *subject.backbone.outputs[1:])
    for name, packed, *single in zip(names, together, *alone, strict=True):
        for found, expected in zip(packed.split([len(each) for each in single]), single, strict=True):
            scale = max(1.0, float(expected.abs().max()))
            what = f"The {name} beside another structure and alone"
            require_close(what, found.numpy(), expected.numpy(), TWO_RESULTS * FLOAT32_FORCE * scale)


def _require_near(what: str, found: Result, expected: Result, factor: float) -> None:
    energy = factor * FLOAT32_ENERGY * energy_scale(expected)
    require_close(f"Energies {what} (eV)", found.energies, expected.energies, energy)
    require_close(f"Forces {what} (eV/Å)", found.forces, expected.forces, factor * _force_tolerance(expected))


def _force_tolerance(result: Result) -> float:
    return FLOAT32_FORCE * force_scale(result) + FLOAT32_FORCE_FLOOR


_CHECKS: Final[dict[str, Callable[[RehearsedProgram], None]]] = {
    "float64": _check_float64,
    "forces": _check_forces,
    "sum of forces": _check_sum,
    "rotation": _check_rotation,
    "permutation": _check_permutation,
    "packing": _check_packing,
}
