"""A potential as an ASE calculator."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from halocline.errors import StructureError, UsageError
from halocline.evaluator.following import BackboneState
from halocline.forks import lock
from halocline.graph.structure import Structure, same_bits
from halocline.model.backbone import Output
from halocline.model.condition import check_head, read_conditions, taken_entries
from halocline.shares import timed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from halocline.applicability import Outside
    from halocline.evaluator import FollowingEvaluator
    from halocline.evaluator.result import Spread
    from halocline.potential.potential import EvaluatorOptions, Potential
    from halocline.program.replacement import Replacement

#: What results of any model depend on. Charges and magnetic moments of ``atoms`` are not looked at.
_INPUTS = ("numbers", "positions", "cell", "pbc")
#: What a calculator's copies make anew.
_NOT_COPIED = ("_evaluator", "_in_use", "_copied_with")


@final
class HaloclineCalculator(Calculator):
    """Energy, per-atom energies, forces and stress by ASE's conventions.

    The neighbour list lives as long as the calculator and is searched anew only when atoms have moved far enough.
    Results do not depend on what was computed before, and follow changes of the potential: to weights and modules
    of its backbone, and to its reference energies.

    Args:
        potential: the model.
        options: backend, dtype, device, partition, halo, memory and compress, as for `Potential.calculator`.
        head: that is to answer, likewise.

    Attributes:
        outside: in what the structure of the last results lies outside of the training; see `Result.outside`.
        spread: of the members behind the last results, if the model is a committee; see `Result.spread`.
    """

    # Assigned, never appended to: ASE shares one list between all calculators.
    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

    def __init__(self, potential: Potential, options: EvaluatorOptions, head: str | None = None) -> None:
        self._seen: _Seen | None = None
        super().__init__()  # type: ignore[no-untyped-call]
        self._in_use = lock()
        told = {Output.MAGMOMS: ["magmoms", "magmom"], Output.CHARGES: ["charges"]}
        more = [name for output in potential.backbone.outputs for name in told.get(output, ())]
        self.implemented_properties = [*type(self).implemented_properties, *more]
        check_head(potential.backbone.conditions, head)
        self.potential = potential
        self.options, self.head = options, head
        self.outside: tuple[Outside, ...] = ()
        self.spread: Spread | None = None
        self._evaluator: FollowingEvaluator | None = potential.evaluator(**options)
        self._reference_energies: dict[str, float] = {}  # of the last results

    @property
    def atoms(self) -> Atoms | None:
        """The structure of the last results, as ASE wants to find it."""
        return None if self._seen is None else self._seen.atoms()

    @atoms.setter
    def atoms(self, atoms: Atoms | None) -> None:
        self._seen = None if atoms is None else _Seen.of(atoms)

    @timed("calculator")
    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """What ASE asks for.

        Raises:
            PropertyNotImplementedError: it is none of those that the model tells, of this structure.
            UsageError: another thread is using the calculator.
        """
        if name not in self.implemented_properties:
            raise PropertyNotImplementedError(f"{name} property not implemented")
        self._begin_alone()
        try:
            if atoms is None:
                atoms = self.atoms
            elif not self._has_results_of(atoms):
                self.reset()  # type: ignore[no-untyped-call]
            if name not in self.results:
                if not allow_calculation:
                    return None
                if self.results:  # all properties come at once
                    _refuse_stress(name, atoms)
                else:
                    self._calculate(atoms, (name,))
            found = self.results.get(name)
        finally:
            self._in_use.release()
        if found is None:
            raise PropertyNotImplementedError(f"{name} not present in this calculation")
        return found.copy() if isinstance(found, np.ndarray) else found

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute all properties at once: forces and stress come with the energy.

        Raises:
            StructureError: as for a call of the potential; no results are left then.
            PropertyNotImplementedError: stress of a structure that is not periodic in all three directions, or of
                a model that has none.
            UsageError: another thread is using the calculator.
        """
        del system_changes
        self._begin_alone()
        try:
            self._calculate(atoms, properties or ())
        finally:
            self._in_use.release()

    def _calculate(self, atoms: Atoms | None, properties: Sequence[str]) -> None:
        self.results = {}  # so that none is left for this structure if it cannot be evaluated
        atoms = self.atoms if atoms is None else atoms
        if atoms is None:
            raise UsageError("The calculator has no structure yet; give it one.")
        if self._evaluator is None:
            self._evaluator = self.potential.evaluator(**self.options)
        self._reference_energies = dict(self.potential.reference_energies)
        try:
            prepared = self.potential.prepare(atoms, self.head)
        except StructureError:
            self.atoms = atoms.copy()
            raise
        self._seen = _Seen.prepared(atoms, prepared.structure)
        result = self.potential.evaluate_prepared(self._evaluator, prepared)
        self.potential.say_outside(result)
        self.outside, self.spread = result.outside, result.spread
        self.results = {
            "energy": result.energy,
            "free_energy": result.energy,
            "energies": result.energies,
            "forces": result.forces,
        }
        if result.charges is not None:
            self.results["charges"] = result.charges
        if result.magmoms is not None:
            self.results |= {"magmoms": result.magmoms, "magmom": float(result.magmoms.sum())}
        if result.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(result.stress)
        else:
            for name in properties:
                _refuse_stress(name, atoms)

    @property
    def replaced(self) -> tuple[Replacement, ...]:
        """Stages of the model that kernels have taken the place of; none while the calculator is closed."""
        return () if self._evaluator is None else self._evaluator.replaced

    @property
    def derives_forces(self) -> bool:
        """Whether forces are derivatives of the energy."""
        return self.potential.backbone.derives_forces

    @property
    def derives_stress(self) -> bool:
        """Whether the stress is a derivative of the energy."""
        return self.potential.backbone.derives_stress

    @property
    def restarted(self) -> bool:
        """Whether all processes that evaluate, this one among them, were started anew after a failure."""
        return self._evaluator is not None and self._evaluator.restarted

    def close(self) -> None:
        """End what the last calculations have left, such as the ranks of ``ddp``; the next one starts anew.

        Dynamics and optimisers of ASE refer to themselves, so a calculator lives on for a while once they are
        forgotten.
        """
        if self._evaluator is not None:
            self._evaluator.close()

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Names of what differs from the structure of the last results, to the bit; ASE's default lets 1e-15 pass.

        Everything, where the model is another one by now.
        """
        del tol
        if self._seen is None:
            return list(all_changes)
        pairs = zip(_INPUTS, self._seen.inputs, _inputs(atoms), strict=True)
        changes = [name for name, before, now in pairs if not same_bits(before, now)]
        changes += self._changed_conditions(atoms)
        return changes or ([] if self._is_current() else list(all_changes))

    def _has_results_of(self, atoms: Atoms) -> bool:
        """Whether `check_state` finds no change; most often positions have changed, and are looked at first."""
        if self._seen is None or not same_bits(self._seen.inputs[1], atoms.positions):
            return False
        return not self.check_state(atoms)

    def stated(self, atoms: Atoms) -> dict[str, float | str]:
        """All that the model takes of a structure beside atoms and cell, such as charge and head, by name.

        Raises:
            StructureError: the structure does not state it, or states something impossible.
        """
        declared = self.potential.backbone.conditions
        numbers = read_conditions(declared, atoms.info, self.head)
        return {each.name: each.stated(numbers[each.name]) for each in declared}

    @property
    def taken_entries(self) -> set[str]:
        """The entries of ``atoms.info`` from which it is read."""
        return taken_entries(self.potential.backbone.conditions)

    def _changed_conditions(self, atoms: Atoms) -> list[str]:
        """What else differs of what the model takes, such as the charge; all of it where it cannot be read."""
        assert self._seen is not None
        declared = self.potential.backbone.conditions
        if not declared:
            return []
        try:
            before, now = self.stated(self._seen.atoms()), self.stated(atoms)
        except StructureError:  # which the next calculation says
            return [condition.name for condition in declared]
        return [name for name in now if now[name] != before[name]]

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Provenance for trajectories and databases."""
        del skip_default
        head = {} if self.head is None else {"head": self.head}
        return {"model": self.potential.card.get("name", self.potential.backbone.name), **self.options, **head}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the evaluator behind, which is made anew where the copy is used, and results that are old."""
        state = {name: value for name, value in vars(self).items() if name not in _NOT_COPIED}
        return state if self._is_current() else state | {"results": {}, "_seen": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin without an evaluator."""
        vars(self).update(state, _evaluator=None, _in_use=lock())
        self._copied_with = BackboneState.of(self.potential.backbone)

    def _is_current(self) -> bool:
        """Whether the last results are those of the model as it is."""
        if self._reference_energies != self.potential.reference_energies:
            return False
        if self._evaluator is None:
            return self._copied_with.is_of(self.potential.backbone)
        return self._evaluator.is_current

    def _begin_alone(self) -> None:
        """Refuse a second thread: between its question and the answer, results could become those of another."""
        if not self._in_use.acquire(blocking=False):
            raise UsageError(
                "Two threads use one calculator at the same time, but it holds the results of one structure; make "
                "one for each thread with potential.calculator()."
            )


@final
class _Seen:
    """The structure of a calculation. ASE keeps a copy of the atoms; here one is made for those who ask for it.

    Attributes:
        inputs: arrays in the order of `_INPUTS`, which nobody else changes.
    """

    def __init__(self, inputs: tuple[NDArray[Any], ...], kept: dict[str, Any], atoms: Atoms | None) -> None:
        self.inputs, self._kept, self._atoms = inputs, kept, atoms

    @classmethod
    def of(cls, atoms: Atoms) -> _Seen:
        """Of a copy that ASE or a user gives."""
        return cls(tuple(array.copy() for array in _inputs(atoms)), {}, atoms)

    @classmethod
    def prepared(cls, atoms: Atoms, structure: Structure) -> _Seen:
        """Of atoms of which a checked copy was made.

        Args:
            atoms: their other arrays and entries are copied.
            structure: made from them.
        """
        copies = (structure.numbers, structure.positions, structure.cell, structure.pbc)
        theirs = _inputs(atoms)
        if all(array.dtype == before.dtype for array, before in zip(copies, theirs, strict=True)):
            inputs: tuple[NDArray[Any], ...] = copies
        else:
            inputs = tuple(array.copy() for array in theirs)
        columns = {name: column.copy() for name, column in atoms.arrays.items() if name not in _INPUTS}
        kept = {"columns": columns, "info": dict(atoms.info), "celldisp": atoms.get_celldisp()}
        if atoms.constraints:
            kept["constraint"] = copy.deepcopy(atoms.constraints)
        return cls(inputs, kept, None)

    def atoms(self) -> Atoms:
        """The whole structure, always the same object."""
        if self._atoms is None:
            numbers, positions, cell, pbc = self.inputs
            kept = dict(self._kept)
            columns = kept.pop("columns")
            self._atoms = Atoms(numbers, positions, cell=cell, pbc=pbc, **kept)
            for name, column in columns.items():
                self._atoms.set_array(name, column)
        return self._atoms


def _inputs(atoms: Atoms) -> tuple[NDArray[Any], ...]:
    """The arrays that `_INPUTS` names."""
    return atoms.arrays["numbers"], atoms.arrays["positions"], atoms.cell.array, atoms.pbc


def _refuse_stress(name: str, atoms: Atoms | None) -> None:
    """Say why there is no stress, if it is that which is asked for."""
    if name != "stress":
        return
    if atoms is not None and atoms.pbc.all():
        raise PropertyNotImplementedError("The model says what forces are, and has no stress.")
    raise PropertyNotImplementedError("Stress needs a structure that is periodic in all three directions.")
