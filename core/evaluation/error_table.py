"""The errors of each frame, as CSV."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, final

from halocline.appended import EMPTY, AppendedFile
from halocline.errors import OutputError, UsageError
from halocline.evaluation.forms import csv_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from halocline.data.labels import Labels
    from halocline.evaluation.frames import Frame
    from halocline.evaluator.result import Result

#: Errors of a frame as `halocline.evaluation.accuracy.Accuracy.add` names them, and columns with their units.
COLUMNS: Final = {
    "energy error": "energy_error_meV",
    "energy error per atom": "energy_error_meV_per_atom",
    "force MAE": "force_mae_meV_per_A",
    "force RMSE": "force_rmse_meV_per_A",
    "largest force error": "largest_force_error_meV_per_A",
    "stress MAE": "stress_mae_meV_per_A3",
    "largest stress error": "largest_stress_error_meV_per_A3",
}
_ROWS: Final = 64


def check_table(path: Path, *, overwrite: bool) -> None:
    """Find out before any work that errors cannot be written to a file.

    Raises:
        UsageError: it is there and may not be replaced, or its name or folder is no good.
    """
    if path.suffix != ".csv":
        raise UsageError(f"--output {path} is written as CSV; let its name end in .csv.")
    if not path.parent.is_dir():
        raise UsageError(f"The folder of --output {path} does not exist; make it first.")
    if path.exists() and not (overwrite and path.is_file()):
        raise UsageError(f"{path} exists: replace it with --overwrite, or choose another --output.")


@final
class ErrorTable:
    """Writes a line for each frame, many at a time; empty where there is no label.

    Args:
        path: of the file, which is replaced.
        columns: names of errors, as `add` is given them, and of their columns.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, columns: Mapping[str, str] = COLUMNS) -> None:
        self._file = AppendedFile(path, EMPTY, error_class=OutputError)
        place = ("file", "frame", "formula", "atoms", "energy_label_eV", "energy_eV")
        self._columns = columns
        self._rows = [csv_line([*place, *columns.values()])]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if not isinstance(error, OutputError):
                self._flush()

    def add(self, frame: Frame, labels: Labels, result: Result, errors: Mapping[str, float]) -> None:
        """Take one more frame and its own errors."""
        atoms = frame.atoms
        place: list[Any] = [frame.file, frame.number, atoms.get_chemical_formula(), len(atoms)]
        energy = "" if labels.energy is None else labels.energy
        self._rows.append(
            csv_line([*place, energy, result.energy, *(errors.get(name, "") for name in self._columns)])
        )
        if len(self._rows) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        self._file.append(b"".join(rows))
