"""A potential as an ASE calculator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from halocline.errors import UsageError
from halocline.evaluator.following import BackboneState
from halocline.forks import lock
from halocline.graph.structure import same_bits
from halocline.shares import timed

if TYPE_CHECKING:
    from ase import Atoms

    from halocline.applicability import Outside
    from halocline.evaluator import FollowingEvaluator
    from halocline.potential.potential import Potential

#: What results depend on. Charges, magnetic moments and entries of ``atoms.info`` are not looked at.
_INPUTS = ("numbers", "positions", "cell", "pbc")


@final
class HaloclineCalculator(Calculator):
    """Energy, per-atom energies, forces and stress by ASE's conventions.

    The neighbour list lives as long as the calculator and is searched anew only when atoms have moved far enough.
    Results do not depend on what was computed before, and follow changes of the potential: to weights and modules
    of its backbone, and to its reference energies.

    Args:
        potential: the model.
        options: backend, dtype, device, partition and halo, as for `Potential.calculator`.

    Attributes:
        outside: in what the structure of the last results lies outside of the training; see `Result.outside`.
    """

    # Assigned, never appended to: ASE shares one list between all calculators.
    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

    def __init__(self, potential: Potential, options: dict[str, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._in_use = lock()
        self.potential = potential
        self.options = options
        self.outside: tuple[Outside, ...] = ()
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
            PropertyNotImplementedError: stress of a structure that is not periodic in all three directions.
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
        result = self.potential.evaluate_with(self._evaluator, self.atoms)
        self.potential.say_outside(result)
        self.outside = result.outside
        self.results = {
            "energy": result.energy,
            "free_energy": result.energy,
            "energies": result.energies,
            "forces": result.forces,
        }
        if result.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(result.stress)
        elif "stress" in (properties or ()):
            raise PropertyNotImplementedError("Stress needs a structure that is periodic in all three directions.")

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
        """What differs from the structure of the last results, to the bit; ASE's default lets 1e-15 pass.

        Everything, where the model is another one by now.
        """
        del tol
        if self.atoms is None:
            return list(all_changes)
        pairs = zip(_inputs(self.atoms), _inputs(atoms), strict=True)
        changes = [name for name, pair in zip(_INPUTS, pairs, strict=True) if not same_bits(*pair)]
        return changes or ([] if self._is_current() else list(all_changes))

    def todict(self, skip_default: bool = True) -> dict[str, Any]:
        """Provenance for trajectories and databases."""
        del skip_default
        return {"model": self.potential.card.get("name", self.potential.backbone.name), **self.options}

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
