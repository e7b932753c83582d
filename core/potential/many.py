"""Structures as they come: read a few ahead, evaluated together, given back in order."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from ase import Atoms

from halocline.errors import HaloclineError, StructureError, UsageError
from halocline.evaluator.result import Result

if TYPE_CHECKING:
    from halocline.evaluator import Evaluator
    from halocline.potential.potential import Potential
    from halocline.potential.preparation import Prepared

#: What is read ahead, at most: so many structures, or one more than have so many atoms in all.
WINDOW_STRUCTURES: Final = 256
WINDOW_ATOMS: Final = 4096

#: By how much results may differ from those of a structure alone, by dtype: energies and their shares relative to
#: max(1 eV, Σ|E_i|), forces and virials relative to max(1 eV/Å, max|F|) and max(1 eV, max|W|).
#: Neighbours and the order of all sums over them are the same; products of matrices round with their sizes.
AGREEMENT: Final = {"float64": 1e-10, "float32": 1e-5}


def is_list(atoms: object) -> bool:
    """Whether a call was given several structures: a list or tuple, or anything else that is no structure.

    Raises:
        UsageError: it is no structure, and holds none.
    """
    if isinstance(atoms, Atoms):
        return False
    if isinstance(atoms, Iterable) and not isinstance(atoms, str | bytes):
        return True
    raise UsageError(f"A potential is given an ase.Atoms or a list of them, not {type(atoms).__name__}.")


def evaluate_stream(
    potential: Potential,
    evaluator: Evaluator,
    structures: Iterable[Atoms],
    head: str | None = None,
    *,
    keep_errors: bool,
) -> Generator[Result | HaloclineError]:
    """Yield results in the order of the structures; see `Potential.map`.

    Args:
        potential: the model.
        evaluator: from `Potential.evaluator`.
        structures: read when results are asked for.
        head: that is to answer; see a call of the potential.
        keep_errors: yield the error of a structure in its place, instead of raising it.

    Raises:
        HaloclineError: of the first structure that has no result, unless errors are kept.
    """
    for place, outcome in enumerate(outcomes(potential, evaluator, structures, head)):
        if isinstance(outcome, Result):
            potential.say_outside(outcome)
        else:
            outcome.args = (f"Structure {place}: {outcome}",)
            if not keep_errors:
                raise outcome
        yield outcome


def outcomes(
    potential: Potential, evaluator: Evaluator, structures: Iterable[Atoms], head: str | None = None
) -> Generator[Result | HaloclineError]:
    """Yield the result or the error of each structure, in their order; arguments as for `evaluate_stream`.

    Nothing is said where structures lie outside of the training, and errors do not name their structure.

    Raises:
        Exception: whatever reading ``structures`` raised, after the results of those that came before.
    """
    read = _Reader(potential, structures, head, together=evaluator.together)
    while window := read.window():
        yield from _evaluated(potential, evaluator, window)
    if read.failure is not None:
        raise read.failure


def _evaluated(
    potential: Potential, evaluator: Evaluator, window: list[Prepared | StructureError]
) -> Iterator[Result | HaloclineError]:
    """What became of each structure of a window."""
    good = [each for each in window if not isinstance(each, StructureError)]
    found = iter(potential.evaluate_many_with(evaluator, good) if good else ())
    return (each if isinstance(each, StructureError) else next(found) for each in window)


def _require_atoms(place: int, structure: object) -> None:
    if not isinstance(structure, Atoms):
        raise UsageError(f"Structure {place} is no ase.Atoms but {type(structure).__name__}.")


class _Reader:
    """Takes structures from an iterable, a few at a time.

    What goes wrong with the iterable itself comes after the structures before it.

    Attributes:
        failure: of the iterable, once it has failed; there are no more windows then.
    """

    def __init__(
        self, potential: Potential, structures: Iterable[Atoms], head: str | None, *, together: bool
    ) -> None:
        self._potential, self._structures, self._head = potential, enumerate(structures), head
        self._most = WINDOW_STRUCTURES if together else 1
        self.failure: BaseException | None = None

    def window(self) -> list[Prepared | StructureError]:
        """The next structures, each copied and checked; empty at the end."""
        window: list[Prepared | StructureError] = []
        atoms = 0
        while self.failure is None and len(window) < self._most and atoms < WINDOW_ATOMS:
            try:
                place, structure = next(self._structures)
                _require_atoms(place, structure)
            except StopIteration:
                break
            except Exception as error:  # whatever the iterable raises is raised in its place
                self.failure = error
                break
            atoms += len(structure)
            window.append(self._prepared(structure))
        return window

    def _prepared(self, structure: Atoms) -> Prepared | StructureError:
        try:
            return self._potential.prepare(structure, self._head)
        except StructureError as error:
            return error
