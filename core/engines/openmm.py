"""A potential as one of OpenMM-ML's, for molecules, boxes, and parts of systems that a force field describes.

Needs OpenMM-ML: ``pip install 'halocline[openmm]'``, which finds it by its entry point. Everything heavy is
imported when a potential is made: OpenMM-ML imports this module whenever it is imported itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, final

from halocline.errors import StructureError, UsageError

try:
    import openmm
    from openmm import unit
    from openmmml.mlpotential import MLPotentialImpl, MLPotentialImplFactory
except ImportError as error:
    raise UsageError(
        "OpenMM-ML is not installed, or cannot be imported here: pip install 'halocline[openmm]'"
    ) from error

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray

    from halocline.potential.potential import Potential

#: Arguments of `MLPotential` beside the model, which are those of `Potential.calculator`.
_OPTIONS: Final[tuple[str, ...]] = (
    "backend",
    "dtype",
    "device",
    "partition",
    "halo",
    "memory",
    "head",
    "compress",
)


@final
class HaloclineFactory(MLPotentialImplFactory):  # type: ignore[misc]
    """Makes potentials for ``MLPotential("halocline", ...)``; OpenMM-ML calls it."""

    def createImpl(self, name: str, **arguments: Any) -> HaloclineForces:  # noqa: N802
        """Load a model.

        Args:
            name: under which it was found.
            arguments: ``model``, a name in a zoo, a path, or a `Potential`; ``prune``, see `halocline.load`; and
                the options of `Potential.calculator`.

        Raises:
            UsageError: no model is named, an argument is none of these, or an option is wrong.
            HaloclineError: as for `halocline.load`.
        """
        import halocline
        from halocline.potential.potential import Potential

        options: dict[str, Any] = {option: arguments.pop(option) for option in _OPTIONS if option in arguments}
        model, prune = arguments.pop("model", None), arguments.pop("prune", None)
        if arguments:
            known = ", ".join(("model", "prune", *_OPTIONS))
            raise UsageError(f"MLPotential('{name}') takes {known}, and no {', '.join(sorted(arguments))}.")
        if model is None:
            raise UsageError(f"Name a model: MLPotential('{name}', model='7net-0').")
        if isinstance(model, Potential):
            if prune is not None:
                raise UsageError("A potential that is loaded already is pruned when it is loaded.")
            return HaloclineForces(model, options)
        return HaloclineForces(halocline.load(model, prune), options)


@final
class HaloclineForces(MLPotentialImpl):  # type: ignore[misc]
    """Adds the forces of a model to systems; OpenMM-ML calls it.

    Args:
        potential: the model.
        options: of `Potential.calculator`.

    Raises:
        UsageError: an option is wrong.
    """

    def __init__(self, potential: Potential, options: dict[str, Any]) -> None:
        self._potential, self._options = potential, options
        potential.calculator(**options)  # what is wrong shows here

    def addForces(  # noqa: N802
        self,
        topology: Any,
        system: Any,
        atoms: Iterable[int] | None,
        forceGroup: int,  # noqa: N803
        **arguments: Any,
    ) -> None:
        """Add a force that evaluates the model at every step, in Python.

        Args:
            topology: of OpenMM, whose elements count, and whose box says whether the system is periodic.
            system: that the force is added to.
            atoms: that the model describes; all if None.
            forceGroup: of the force.
            arguments: ``info``, what the model is to be told, such as ``{"charge": 1}``; whatever else embeddings
                understand.

        Raises:
            StructureError: an atom has no element, or one that the model does not know.
            UsageError: an option of `MLPotential` is given here, where it would have no effect.
        """
        if misplaced := [name for name in ("model", "prune", *_OPTIONS) if name in arguments]:
            raise UsageError(
                f"Give {misplaced[0]} to MLPotential(...): systems are made of a model that is loaded."
            )
        every = list(topology.atoms())
        chosen = every if atoms is None else [every[index] for index in atoms]
        periodic = topology.getPeriodicBoxVectors() is not None
        structure = _structure(chosen, periodic, arguments.get("info") or {})
        self._potential.prepare(structure, self._options.get("head"))  # elements and info show here
        structure.calc = self._potential.calculator(**self._options)
        force = openmm.PythonForce(_Evaluation(structure))
        force.setForceGroup(forceGroup)
        force.setUsesPeriodicBoundaryConditions(periodic)
        if atoms is not None:
            force.setParticles([atom.index for atom in chosen])
        system.addForce(force)

    def getMLLongRange(self) -> bool:  # noqa: N802
        """Models end at their cutoff; none has electrostatics by Ewald sums."""
        return False


@final
class _Evaluation:
    """What OpenMM calls at every step. It can be pickled, as OpenMM copies forces so."""

    def __init__(self, structure: Atoms) -> None:
        self._structure = structure

    def __call__(self, state: Any) -> tuple[float, NDArray[np.float64]]:
        """Energy in kJ/mol and forces in kJ/mol/nm of a state of OpenMM."""
        from ase import units

        atoms = self._structure
        atoms.set_positions(state.getPositions(asNumpy=True).value_in_unit(unit.angstrom))
        if atoms.pbc.any():
            atoms.set_cell(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom))
        per_mole = units.mol / units.kJ
        # First the forces: the energy comes with them.
        forces = atoms.get_forces() * (10.0 * per_mole)
        return atoms.get_potential_energy() * per_mole, forces


def _structure(chosen: list[Any], periodic: bool, info: dict[str, Any]) -> Atoms:
    """Atoms of a topology, somewhere.

    Raises:
        StructureError: one has no element, such as a site without mass.
    """
    from ase import Atoms

    for atom in chosen:
        if atom.element is None:
            raise StructureError(f"Atom {atom.index} ({atom.name}) has no element, which the model goes by.")
    places = [(3.0 * number, 0.0, 0.0) for number in range(len(chosen))]  # none on another
    cell = (3.0 * len(chosen), 100.0, 100.0) if periodic else None
    numbers = [atom.element.atomic_number for atom in chosen]
    return Atoms(numbers, places, cell=cell, pbc=periodic, info=dict(info))
