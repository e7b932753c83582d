"""What files of labelled structures hold, and what may be wrong with it; read as a stream."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from halocline.data.duplicates import Shapes
from halocline.data.frames import Frame, stream_frames
from halocline.data.labels import LabelCount, LabelReader, Labels
from halocline.data.magnitudes import Magnitudes
from halocline.errors import HaloclineError, StructureError, TrainingError
from halocline.graph import Contacts, Graph, NeighbourList, Radius, Structure
from halocline.structures.units import Units

#: Å; within this distance neighbours count for distances and for telling structures apart.
RADIUS: Final = 4.0
#: Frames of which something is kept, some 500 bytes each, to find duplicates and outliers among them.
MOST_COMPARED: Final = 1_000_000
#: Messages, outliers and groups of duplicates that are shown.
_SHOWN: Final = 5
_TOGETHER: Final = 256
#: An energy is an outlier so many robust standard deviations from the median; a force so many times the median.
_DEVIATIONS, _TIMES = 10.0, 10.0
#: Of the median absolute deviation of normally distributed numbers.
_MAD: Final = 1.4826


@final
@dataclass(slots=True, kw_only=True)
class FileReport:
    """What a file holds.

    Attributes:
        file: its name.
        frames: that could be read.
        atoms: fewest and most of a frame.
        elements: chemical symbol → frames that contain it.
        periodic: frames that are periodic in some direction.
        labels: whence each was read and how often.
        energy_per_atom: lowest and highest, eV.
        forces_rms: of components, eV/Å.
        largest_force: of an atom, eV/Å.
        largest_net_force: |ΣF|/N of a frame, eV/Å.
        unbalanced: frames whose net force is not small.
        shortest: two elements, such as ``H-O`` → Å.
        problems: what cannot be read or is no label; the first ones, and how many there are.
        remarks: what seems to be in other units.
    """

    file: str
    frames: int = 0
    atoms: tuple[int, int] = (0, 0)
    elements: dict[str, int] = field(default_factory=dict)
    periodic: int = 0
    labels: list[LabelCount] = field(default_factory=list)
    energy_per_atom: tuple[float, float] | None = None
    forces_rms: float | None = None
    largest_force: float | None = None
    largest_net_force: float | None = None
    unbalanced: int = 0
    shortest: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0
    remarks: list[str] = field(default_factory=list)

    def add_problem(self, problem: HaloclineError) -> None:
        """Count a problem, and keep the words of the first ones."""
        self.problem_count += 1
        if len(self.problems) < _SHOWN:
            self.problems.append(str(problem))


@final
@dataclass(frozen=True, slots=True)
class Look:
    """What several files hold.

    Attributes:
        files: of each.
        duplicates: groups of frames that show the same structure, as words; the first ones.
        duplicate_frames: frames that show what an earlier one shows, in all.
        shared: two files → how many frames of the second show a structure of the first.
        outliers: frames whose energy or forces are far from those of the others, as words; the first ones.
        not_compared: frames beyond `MOST_COMPARED`, among which no duplicates and outliers were looked for.
    """

    files: list[FileReport]
    duplicates: list[list[str]]
    duplicate_frames: int
    shared: dict[str, int]
    outliers: list[str]
    not_compared: int

    @property
    def is_good(self) -> bool:
        """Whether every frame and every label could be read, and no two files share a structure."""
        return not self.shared and not any(each.problem_count for each in self.files)


def look(
    files: Sequence[Path],
    keys: Mapping[str, str | None],
    units: Units | None,
    advance: Callable[[], None] = lambda: None,
) -> Look:
    """Read files of labelled structures and say what they hold. Nothing is changed.

    Args:
        files: of any kind that `halocline.data.frames` reads.
        keys: energy, forces and stress → the name that the files have for it, or None for the usual ones.
        units: of the files, by default those of their formats.
        advance: called after each frame.
    """
    compared = _Compared()
    reports = [_look_at(file, keys, units, compared, advance) for file in files]
    groups = compared.groups()
    shared: Counter[str] = Counter()
    for group in groups:
        first = compared.place(group[0])[0]
        for number in group[1:]:
            if (other := compared.place(number)[0]) != first:
                shared[f"{files[first]} and {files[other]}"] += 1

    def name(number: int) -> str:
        file, frame = compared.place(number)
        return f"frame {frame} of {files[file]}"

    return Look(
        files=reports,
        duplicates=[[name(number) for number in group] for group in groups[:_SHOWN]],
        duplicate_frames=sum(len(group) - 1 for group in groups),
        shared=dict(shared),
        outliers=[f"{name(number)}: {words}" for number, words in compared.outliers()],
        not_compared=compared.left_out,
    )


def _look_at(
    file: Path,
    keys: Mapping[str, str | None],
    units: Units | None,
    compared: _Compared,
    advance: Callable[[], None],
) -> FileReport:
    report, magnitudes = FileReport(file=str(file)), Magnitudes()
    reader = LabelReader(keys, lambda label, key: f"--{label}-key {key}")
    contacts: Contacts | None = None
    compared.begin()
    neighbours = NeighbourList(Radius(RADIUS), skin=0.0)
    for frame, labels in _frames(file, reader, units, report):
        advance()
        atoms = frame.atoms
        sizes = (len(atoms), len(atoms)) if not report.frames else (*report.atoms, len(atoms))
        report.atoms = min(sizes), max(sizes)
        report.frames += 1
        report.periodic += bool(atoms.pbc.any())
        for z in np.unique(atoms.numbers):
            report.elements[chemical_symbols[z]] = report.elements.get(chemical_symbols[z], 0) + 1
        graph = None
        try:
            graph = neighbours.graph(Structure.from_atoms(atoms))
        except StructureError as error:
            report.add_problem(StructureError(f"{frame}: {error}"))
        else:
            magnitudes.add(atoms, labels)
            if len(atoms) > 1 or atoms.pbc.any():
                found = Contacts.of(graph)
                contacts = (found if contacts is None else Contacts.merge([contacts, found])).measured()
        compared.add(frame, labels, graph)
        if labels.energy is not None:
            each = labels.energy / len(atoms)
            lowest, highest = report.energy_per_atom or (each, each)
            report.energy_per_atom = min(lowest, each), max(highest, each)
    _finish(report, reader, magnitudes, contacts)
    return report


def _finish(report: FileReport, reader: LabelReader, magnitudes: Magnitudes, contacts: Contacts | None) -> None:
    report.labels = reader.counts()
    if report.frames and not any(count.frames for count in report.labels):
        report.add_problem(reader.missing(*(count.label for count in report.labels)))
    report.remarks = list(magnitudes.remarks(contacts, RADIUS))
    if (rms := magnitudes.forces) is not None:
        report.forces_rms, report.largest_force = rms, magnitudes.largest_force
        report.largest_net_force, report.unbalanced = magnitudes.net_force, magnitudes.unbalanced
    if contacts is not None:
        symbols = [chemical_symbols[z] for z in contacts.elements]
        pairs = zip(*np.triu_indices(len(symbols)), strict=True)
        report.shortest = {
            f"{symbols[a]}-{symbols[b]}": float(contacts.shortest[a, b])
            for a, b in pairs
            if np.isfinite(contacts.shortest[a, b])
        }


def _frames(
    file: Path, reader: LabelReader, units: Units | None, report: FileReport
) -> Iterator[tuple[Frame, Labels]]:
    """The frames that can be read, with their labels; what is wrong with others is noted."""
    frames = stream_frames(str(file), file, units, report.add_problem)
    while True:
        some: list[Frame] = []
        try:
            some.extend(islice(frames, _TOGETHER))
        except TrainingError as error:  # nothing from here on can be read
            report.add_problem(error)
        if not some:
            return
        reader.look(some)
        for frame in some:
            if not len(frame.atoms):
                report.add_problem(TrainingError(f"{frame} has no atoms."))
                continue
            try:
                labels = reader.read(frame, frame.units)
            except TrainingError as error:
                report.add_problem(error)
                labels = Labels(None, None)
            yield frame, labels


@final
class _Compared:
    """What is kept of frames, as few bytes of each, to compare them with each other."""

    def __init__(self) -> None:
        self.left_out = 0
        self._shapes, self._count = Shapes(), 0
        self._starts: list[int] = []
        self._numbers = array("q")  # places within the files, whose bad frames are missing here
        self._energies, self._forces, self._compositions = array("d"), array("d"), array("q")
        self._known: dict[tuple[tuple[int, int], ...], int] = {}

    def begin(self) -> None:
        """A new file begins."""
        self._starts.append(self._count)

    def add(self, frame: Frame, labels: Labels, graph: Graph | None) -> None:
        """Take note of the next frame."""
        if self._count >= MOST_COMPARED:
            self.left_out += 1
            return
        if graph is not None:
            self._shapes.add(self._count, graph)
        values, counts = np.unique(frame.atoms.numbers, return_counts=True)
        composition = tuple(zip(values.tolist(), counts.tolist(), strict=True))
        self._compositions.append(self._known.setdefault(composition, len(self._known)))
        self._energies.append(np.nan if labels.energy is None else labels.energy)
        largest = np.nan if labels.forces is None else float(np.linalg.norm(labels.forces, axis=1).max())
        self._forces.append(largest)
        self._numbers.append(frame.number)
        self._count += 1

    def place(self, number: int) -> tuple[int, int]:
        """Which file a frame is from, and where it is there."""
        file = int(np.searchsorted(self._starts, number, side="right")) - 1
        return file, self._numbers[number]

    def groups(self) -> list[tuple[int, ...]]:
        """Frames that show the same structure."""
        return self._shapes.groups()

    def outliers(self) -> list[tuple[int, str]]:
        """The frames that are farthest from the others, and why."""
        found: list[tuple[float, int, str]] = []
        per_atom = self._energies_per_atom()
        if len(known := np.flatnonzero(np.isfinite(per_atom))) > 2:
            values = per_atom[known]
            median = np.median(values)
            spread = max(_MAD * float(np.median(np.abs(values - median))), 1e-3)
            for i in known[np.abs(values - median) > _DEVIATIONS * spread]:
                far = float(per_atom[i] - median)
                words = f"its energy is {far:+.3g} eV/atom from what its elements have elsewhere"
                found.append((abs(far) / spread / _DEVIATIONS, int(i), words))
        forces = np.frombuffer(self._forces, np.float64)
        if len(known := np.flatnonzero(np.isfinite(forces))) > 2:
            usual = max(float(np.median(forces[known])), 1e-3)
            for i in known[forces[known] > _TIMES * usual]:
                words = f"a force of {forces[i]:.3g} eV/Å, and the largest of a frame is usually {usual:.2g}"
                found.append((float(forces[i]) / usual / _TIMES, int(i), words))
        return [(i, words) for _, i, words in sorted(found, reverse=True)[:_SHOWN]]

    def _energies_per_atom(self) -> NDArray[np.float64]:
        """Energies without what follows from composition, by least squares, eV/atom; not a number without one."""
        energies = np.frombuffer(self._energies, np.float64)
        labelled = np.isfinite(energies)
        if not labelled.any():
            return energies
        elements = sorted({z for composition in self._known for z, _ in composition})
        table = np.zeros((len(self._known), len(elements)))
        for row, composition in enumerate(self._known):
            for z, count in composition:
                table[row, elements.index(z)] = count
        which = np.frombuffer(self._compositions, np.int64)
        # Of each composition its median energy, so that outliers do not move what they are compared with.
        order, starts = np.unique(np.sort(which[labelled]), return_index=True)
        by_composition = energies[labelled][np.argsort(which[labelled], kind="stable")]
        medians = np.array([np.median(some) for some in np.split(by_composition, starts[1:])])
        sizes = table[order].sum(1)
        fitted = np.linalg.lstsq(table[order] / sizes[:, None], medians / sizes, rcond=None)[0]
        left: Any = (energies - table[which] @ fitted) / table[which].sum(1)
        residuals: NDArray[np.float64] = left
        return residuals
