"""A committee against labels: what each member is worth, and whether its spread tells the error of its mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from numpy.typing import NDArray

from halocline.evaluation.accuracy import UNITS, UPPER, Accuracy, Points, as_table
from halocline.evaluator.result import Result
from halocline.training.errors import MILLI, Deviations

if TYPE_CHECKING:
    from halocline.data.labels import Labels
    from halocline.evaluation.frames import Frame
    from halocline.evaluator.result import Difference, Spread

#: Parts of equal numbers that spreads are sorted into, and the fewest numbers in one.
BINS: Final = 10
_FEWEST: Final = 10


@final
@dataclass(frozen=True, slots=True)
class CalibrationTable:
    """How well spreads tell errors of the mean, in the unit of their quantity; None where nothing can be told.

    Attributes:
        count: of pairs of a spread and an error.
        spread: root of the mean square.
        rmse: of the mean of the committee.
        scale: the error by the spread, which brings spreads to the size of errors when they are multiplied by it.
        correlation: Pearson's, of spreads and absolute errors.
        rank_correlation: Spearman's, of at most `halocline.evaluation.accuracy.POINTS` pairs drawn evenly.
        bins: spread and error as above, of these pairs sorted by their spread into parts of equal numbers.
    """

    count: int
    spread: float | None
    rmse: float | None
    scale: float | None
    correlation: float | None
    rank_correlation: float | None
    bins: list[tuple[float, float]]


@final
class Calibration:
    """Spreads beside errors; taken in a few at a time, and at most a fixed number is kept."""

    def __init__(self) -> None:
        self._pairs, self._points = Deviations(), Points()
        self._squares = np.zeros(2)

    def add(self, spreads: NDArray[np.float64], errors: NDArray[np.float64]) -> None:
        """Take in spreads, and the absolute errors of the mean, of the same shape."""
        self._pairs.add(spreads, errors)
        self._points.add(spreads, errors)
        self._squares += np.square(spreads).sum(), np.square(errors).sum()

    def table(self) -> CalibrationTable:
        """What was found so far."""
        count = self._pairs.count
        spread, rmse = np.sqrt(self._squares / count).tolist() if count else (None, None)
        pairs = self._points.pairs
        return CalibrationTable(
            count=count,
            spread=spread,
            rmse=rmse,
            scale=rmse / spread if spread else None,
            correlation=self._pairs.correlation,
            rank_correlation=_rank_correlation(*pairs),
            bins=_bins(pairs),
        )


def _rank_correlation(spreads: NDArray[np.float64], errors: NDArray[np.float64]) -> float | None:
    from scipy.stats import rankdata

    ranks = Deviations()
    ranks.add(rankdata(spreads), rankdata(errors))
    return ranks.correlation


def _bins(pairs: NDArray[np.float64]) -> list[tuple[float, float]]:
    parts = min(BINS, pairs.shape[1] // _FEWEST)
    if parts < 2:
        return []
    ordered = pairs[:, np.argsort(pairs[0], kind="stable")]
    roots = [np.sqrt(np.square(part).mean(axis=1)) for part in np.array_split(ordered, parts, axis=1)]
    return [(float(spread), float(error)) for spread, error in roots]


@final
class CommitteeAccuracy:
    """Errors of each member of a committee, and spreads beside the errors of its mean.

    Args:
        names: of the members, in their order.
        species: chemical symbols that the committee knows.

    Attributes:
        members: name → its errors.
        calibrations: ``energy per atom``, ``force vectors`` and ``stress``, the latter by components, in the units
            of `halocline.evaluation.accuracy.UNITS`.
    """

    def __init__(self, names: Sequence[str], species: Sequence[str]) -> None:
        self.members = {name: Accuracy(species) for name in names}
        self.calibrations = {name: Calibration() for name in ("energy per atom", "force vectors", "stress")}

    def add(self, frame: Frame, labels: Labels, result: Result) -> None:
        """Take in the result of a committee, or of a sum with one committee in it."""
        spread = result.spread
        assert spread is not None
        for accuracy, difference in zip(self.members.values(), spread.members, strict=True):
            accuracy.add(frame, labels, _of_member(result, difference))
        self._calibrate(len(frame.atoms), labels, result, spread)

    def document(self) -> dict[str, Any]:
        """``members``, errors of each, and ``spread``, spreads beside errors of the mean; with their units."""
        members = {
            model: {name: {"unit": UNITS[name], **as_table(each)} for name, each in accuracy.quantities.items()}
            for model, accuracy in self.members.items()
        }
        spreads = {name: {"unit": UNITS[name], **asdict(each.table())} for name, each in self.calibrations.items()}
        return {"members": members, "spread": spreads}

    def _calibrate(self, size: int, labels: Labels, result: Result, spread: Spread) -> None:
        if labels.energy is not None:
            error = abs(result.energy - labels.energy)
            self._add("energy per atom", np.array([spread.energy / size]), np.array([error / size]))
        if labels.forces is not None:
            self._add("force vectors", spread.forces, np.linalg.norm(result.forces - labels.forces, axis=1))
        virials = [each.virial for each in spread.members if each.virial is not None]
        if labels.stress is not None and result.stress is not None and virials:
            deviations = np.sqrt(np.mean(np.square(virials), axis=0)) / result.volume
            self._add("stress", deviations[UPPER], np.abs(result.stress - labels.stress)[UPPER])

    def _add(self, name: str, spreads: NDArray[np.float64], errors: NDArray[np.float64]) -> None:
        self.calibrations[name].add(spreads * MILLI, errors * MILLI)


def _of_member(result: Result, difference: Difference) -> Result:
    """What the whole would be with one member in the place of the mean."""
    virial = None if result.virial is None or difference.virial is None else result.virial + difference.virial
    return Result(
        energies=result.energies + difference.energies,
        forces=result.forces + difference.forces,
        virial=virial,
        volume=result.volume,
    )
