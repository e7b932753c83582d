"""An index with one small model in the format of another package, for tests of conversion."""

import hashlib
from pathlib import Path

from ase import Atoms
from zoo_models import ENTRY, toml

from halocline.plugin import registry
from halocline.potential.load import build_potential
from halocline.zoo.conversion import read

#: Two molecules, one of them periodic and with atoms inside the three-body cutoff.
STRUCTURES = {
    "water": Atoms("OHH", [[0.0, 0.0, 0.0], [0.97, 0.0, 0.0], [-0.2, 0.95, 0.1]]),
    "boxed": Atoms("OH", [[0.0, 0.0, 0.0], [0.6, 0.7, 0.2]], cell=[3.0, 3.2, 3.4], pbc=True),
}


def energies(path: Path, form: str = "matgl") -> dict[str, float]:
    """Energies per atom of the structures, in float64, without the zoo's index."""
    model = read(form, path)
    potential = build_potential(registry().load("converter", form)(model.config, model.tensors))
    return {
        name: float(potential(atoms, dtype="float64").energy / len(atoms)) for name, atoms in STRUCTURES.items()
    }


def foreign_fields(folder: Path, **changes: object) -> dict[str, object]:
    """Fields of an entry for a folder, of MatGL if nothing else is said; a field of value ``...`` is left out."""
    files = [
        {"name": path.name, "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.iterdir())
    ]
    fields = {key: value for key, value in ENTRY.items() if key not in ("size", "sha256")} | {
        "backbone": "m3gnet",
        "species": ["H", "O"],
        "format": "matgl",
        "source": f"file:{folder}/",
        "files": files,
        "card": {"level_of_theory": "none", "errors": {"energy_mae_meV_per_atom": 1.5}},
        "energies": {"water": -1.0, "boxed": -1.0},
    }
    return {key: value for key, value in (fields | changes).items() if value is not ...}


def write_foreign_index(folder: Path, fields: dict[str, object], name: str = "model") -> Path:
    """Write an index with one model of another package, and the structures."""
    structures = {
        key: {
            "symbols": list(atoms.symbols),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.tolist() if atoms.pbc.all() else [],
        }
        for key, atoms in STRUCTURES.items()
    }
    lines = [
        f"default = {toml(name)}",
        f"structures = {toml(structures)}",
        "[models]",
        f"{toml(name)} = {toml(fields)}",
    ]
    path = folder / "index.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
