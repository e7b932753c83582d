"""Water clusters in HDF5, in the layout of the data sets that PNNL published for its cluster networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from halocline.errors import StructureError, UsageError
from halocline.structures.units import Units

if TYPE_CHECKING:
    from ase import Atoms

#: What names of such files end in.
ENDINGS: Final = (".h5", ".hdf5")
#: In which those data sets are: ``f`` holds gradients.
PUBLISHED: Final = Units(energy="kcal/mol", length="Å", forces_are="gradients")
#: Frames that are held at a time.
_BLOCK: Final = 1024
#: Atoms of a molecule of water: ``size`` counts molecules.
_ATOMS_OF_WATER: Final = 3


def clusters_of(source: str, units: Units | None = None) -> Iterator[Atoms | StructureError]:
    """The clusters of a file in their order, read when they are asked for; energies and forces as results.

    The file has, for S structures of at most N atoms: ``z`` (S, N), atomic numbers, 0 where there is no atom;
    ``pos`` (S, N, 3); and where they are known ``y`` (S, 1), energies, ``f`` (S, N, 3), gradients, and ``size``
    (S, 1), numbers of molecules of water. Other data, such as ``x``, are not read.

    Args:
        source: path of the file.
        units: of the file; what is not stated is as in `PUBLISHED`.

    Yields:
        A cluster; or, if it alone is no good, what is wrong with it.

    Raises:
        StructureError: the file is damaged, or has another layout.
        UsageError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise UsageError(f"{source} is HDF5, which h5py reads: pip install 'halocline[data]'.") from None

    units = PUBLISHED if units is None else units.over(PUBLISHED)
    with h5py.File(Path(source), "r") as file:
        data = {name: file[name] for name in ("z", "pos", "y", "f", "size") if name in file}
        _check_layout(source, list(file), data)
        for start in range(0, len(data["z"]), _BLOCK):
            block = {name: each[start : start + _BLOCK] for name, each in data.items()}
            for place in range(len(block["z"])):
                where = f"{source}, frame {start + place}"
                try:
                    cluster = _cluster({name: each[place] for name, each in block.items()}, units, where)
                except StructureError as error:
                    yield error
                else:
                    yield cluster


def _check_layout(source: str, found: list[str], data: Mapping[str, Any]) -> None:
    layout = "The layout has z (S, N), pos (S, N, 3), and y (S, 1), f (S, N, 3), size (S, 1) if they are known."
    if missing := [name for name in ("z", "pos") if name not in data]:
        held = ", ".join(sorted(found)) or "nothing"
        raise StructureError(f"{source} has no {' and no '.join(missing)}, it holds {held}. {layout}")
    shape = data["z"].shape
    right = {"z": [shape[:2]], "pos": [(*shape, 3)], "f": [(*shape, 3)]}
    right |= {name: [shape[:1], (*shape[:1], 1)] for name in ("y", "size")}
    for name, each in data.items():
        if each.shape not in right[name] or len(shape) != 2:
            raise StructureError(f"{name} of {source} has the shape {each.shape}, beside z of {shape}. {layout}")
    if not shape[0]:
        raise StructureError(f"{source} holds no structure.")


def _cluster(values: Mapping[str, NDArray[Any]], units: Units, where: str) -> Atoms:
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    numbers = values["z"]
    atoms = int(np.count_nonzero(numbers))
    if not atoms or numbers[atoms:].any():
        raise StructureError(f"{where} has atoms behind places without (z = 0), or none at all; repair it.")
    if "size" in values and int(values["size"].reshape(())) * _ATOMS_OF_WATER != atoms:
        raise StructureError(
            f"{where} has {atoms} atoms (z is not 0), but size = {int(values['size'].reshape(()))}, which counts "
            f"molecules of water with {_ATOMS_OF_WATER} atoms each; correct either, or leave size out of the file."
        )
    cluster = Atoms(numbers=numbers[:atoms], positions=values["pos"][:atoms] * np.float64(units.of_length))
    results: dict[str, Any] = {}
    if "y" in values:
        results["energy"] = float(values["y"].reshape(())) * units.of_energy
    if "f" in values:
        results["forces"] = values["f"][:atoms] * np.float64(units.of_forces)
    cluster.calc = SinglePointCalculator(cluster, **results)
    return cluster
