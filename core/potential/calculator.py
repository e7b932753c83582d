"""A potential as an ASE calculator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from halocline.errors import StructureError, UsageError
from halocline.evaluator.following import BackboneState
from halocline.forks import lock
from halocline.graph.structure import same_bits
from halocline.model.backbone import Output
from halocline.model.condition import check_head, read_conditions, taken_entries
from halocline.shares import timed

if TYPE_CHECKING:
    from ase import Atoms

    from halocline.applicability import Outside
    from halocline.evaluator import FollowingEvaluator
    from halocline.evaluator.result import Spread
    from halocline.potential.potential import EvaluatorOptions, Potential

#: What results of any model depend on. Charges and magnetic moments of ``atoms`` are not looked at.
_INPUTS = ("numbers", "positions", "cell", "pbc")


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

    @timed("calculator")
    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """What ASE asks for.

        Raises:
            UsageError: another thread is using the calculator.
        """
        with self._alone():
            return super().get_property(name, atoms, allow_calculation)  # type: ignore[no-untyped-call]

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
        with self._alone():
            self._calculate(atoms, properties, system_changes)

    def _calculate(self, atoms: Atoms | None, properties: list[str] | None, system_changes: list[str]) -> None:
        self.results = {}  # so that none is left for this structure if it cannot be evaluated
        if atoms is not None:
            self.atoms = atoms.copy()
        if self.atoms is None:
            raise UsageError("The calculator has no structure yet; give it one.")
        if self._evaluator is None:
            self._evaluator = self.potential.evaluator(**self.options)
        self._reference_energies = dict(self.potential.reference_energies)
        result = self.potential.evaluate_with(self._evaluator, self.atoms, self.head)
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
        elif "stress" in (properties or ()) and result.virial is None:
            raise PropertyNotImplementedError("The model says what forces are, and has no stress.")
        elif "stress" in (properties or ()):
            raise PropertyNotImplementedError("Stress needs a structure that is periodic in all three directions.")

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
        if self.atoms is None:
            return list(all_changes)
        pairs = zip(_inputs(self.atoms), _inputs(atoms), strict=True)
        changes = [name for name, pair in zip(_INPUTS, pairs, strict=True) if not same_bits(*pair)]
        changes += self._changed_conditions(atoms)
        return changes or ([] if self._is_current() else list(all_changes))

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
        assert self.atoms is not None
        declared = self.potential.backbone.conditions
        if not declared:
            return []
        try:
            before, now = self.stated(self.atoms), self.stated(atoms)
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
        state = {name: value for name, value in vars(self).items() if name not in ("_evaluator", "_in_use")}
        return state if self._is_current() else state | {"results": {}, "atoms": None}

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

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Refuse a second thread: between its question and the answer, results could become those of another."""
        if not self._in_use.acquire(blocking=False):
            raise UsageError(
                "Two threads use one calculator at the same time, but it holds the results of one structure; make "
                "one for each thread with potential.calculator()."
            )
        try:
            yield
        finally:
            self._in_use.release()


def _inputs(atoms: Atoms) -> tuple[NDArray[Any], ...]:
    """The arrays that `_INPUTS` names."""
    return atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
