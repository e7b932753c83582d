"""Reading is bounded, and what a file means does not hang on marks, ends of lines, or a reader's habits."""

import bz2
import gzip
import io
import logging
import lzma
import os
import re
import time

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from halocline.cli.main import main
from halocline.data.convert import convert
from halocline.data.frames import read_frames as read_training_frames
from halocline.data.frames import say_unused
from halocline.errors import StructureError, TrainingError, UsageError
from halocline.structures import limits, source
from halocline.structures import read as reading
from halocline.structures.read import read_frames
from halocline.structures.write import extended_xyz

MODEL = "lennard-jones-argon"
DECIMALS = 1e-8  # extended XYZ stores eight
MEGABYTE = 1 << 20


@pytest.fixture
def crystal():
    atoms = bulk("Ar", "fcc", 5.3, cubic=True)
    atoms.rattle(0.1, seed=3)
    return atoms


@pytest.fixture
def text(crystal):
    crystal.info["title"] = "Ar at 5.3 Å"
    return extended_xyz([crystal, crystal])


def same(atoms, other):
    np.testing.assert_array_equal(atoms.numbers, other.numbers)
    np.testing.assert_allclose(atoms.positions, other.positions, atol=DECIMALS)
    np.testing.assert_allclose(atoms.cell.array, other.cell.array, atol=DECIMALS)


FORMS = {
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "UTF-16, big end first": lambda data: b"\xfe\xff" + data.decode().encode("utf-16-be"),
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "CR": lambda data: data.replace(b"\n", b"\r"),
    "Latin-1": lambda data: data.decode().encode("latin-1"),
    "empty lines at the end": lambda data: data + b"\n \n",
    "U+2028": lambda data: data.replace(b"at 5.3", "at 5\u20283".encode()),
    "U+2029": lambda data: data.replace(b"at 5.3", "at 5\u20293".encode()),
    "U+0085": lambda data: data.replace(b"at 5.3", "at 5\x853".encode()),
    "form feed": lambda data: data.replace(b"at 5.3", b"at 5\x0c3"),
    "vertical tab": lambda data: data.replace(b"at 5.3", b"at 5\x0b3"),
    "record separator": lambda data: data.replace(b"at 5.3", b"at 5\x1e3"),
}


@pytest.mark.parametrize("form", FORMS)
def test_marks_and_ends_of_lines_change_nothing(crystal, text, tmp_path, monkeypatch, form):
    data = FORMS[form](text)
    path = tmp_path / "ar.extxyz"
    path.write_bytes(data)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    for frames in (
        read_frames(str(path)),
        read_frames("-"),
        [f.atoms for f in read_training_frames([(path.name, path)])],
    ):
        assert len(frames) == 2
        for atoms in frames:
            same(atoms, crystal)
            written = read(io.StringIO(extended_xyz([atoms]).decode()), format="extxyz")
            same(written, crystal)


@pytest.mark.parametrize("form", ["byte order mark", "CRLF", "UTF-16"])
@pytest.mark.parametrize("name", ["ar.cif", "POSCAR", "ar.pdb", "ar.gen", "ar.xsf", "ar.cfg"])
def test_other_text_formats_likewise(crystal, tmp_path, form, name):
    plain = tmp_path / name
    write(plain, crystal, **({"format": name[3:]} if name.endswith((".gen", ".cfg")) else {}))
    marked = tmp_path / "marked"
    marked.mkdir()
    (marked / name).write_bytes(FORMS[form](plain.read_bytes()))
    (before,), (after,) = read_frames(str(plain)), read_frames(str(marked / name))
    same(after, before)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_compressed_files_are_read(crystal, text, tmp_path, compress):
    ending = {gzip: ".gz", bz2: ".bz2", lzma: ".xz"}
    (suffix,) = (name for module, name in ending.items() if module.compress is compress)
    path = tmp_path / f"ar.extxyz{suffix}"
    path.write_bytes(compress(text))
    assert len(read_frames(str(path))) == 2
    same(read_frames(str(path))[1], crystal)
    path.write_bytes(compress(text)[:-20])
    with pytest.raises(StructureError, match=str(path)):
        read_frames(str(path))


def test_a_compressed_file_that_expands_beyond_reason_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "SMALL", MEGABYTE)
    path = tmp_path / "bomb.extxyz.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(30):
            file.write(text * (MEGABYTE // len(text)))
    with pytest.raises(StructureError, match="expands to more than"):
        read_frames(str(path))


def test_standard_input_that_does_not_end_is_refused(monkeypatch):
    monkeypatch.setattr(source, "LONGEST_INPUT", MEGABYTE)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"1\n\nAr 0 0 0\n" * MEGABYTE)))
    with pytest.raises(StructureError, match="Standard input goes on"):
        read_frames("-")


def test_closed_standard_input_is_a_sentence(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="Standard input is closed"):
        read_frames("-")


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "ar.extxyz")
    for path, kind in ((tmp_path / "ar.extxyz", "a pipe"), (tmp_path, "a folder"), ("/dev/zero", "a device")):
        with pytest.raises(StructureError, match=f"{path} is {kind}"):
            read_frames(str(path))


LYING = {
    "ar.extxyz": "{}\n\nAr 0 0 0\n",
    "POSCAR": "Ar\n1.0\n5 0 0\n0 5 0\n0 0 5\nAr\n{}\nDirect\n0 0 0\n",
    "ar.gro": "x\n{}\n    1ARG     AR    1   0.000   0.000   0.000\n   1.0 1.0 1.0\n",
    "ar.cube": "\n\n{} 0 0 0\n1 5 0 0\n1 0 5 0\n1 0 0 5\n18 18 0 0 0\n0 0 0\n",
    "ar.dump": (
        "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n{}\nITEM: BOX BOUNDS pp pp pp\n0 5\n0 5\n0 5\n"
        "ITEM: ATOMS id element x y z\n1 Ar 0 0 0\n"
    ),
    "lammps-data": (
        "x\n\n{} atoms\n1 atom types\n0 5 xlo xhi\n0 5 ylo yhi\n0 5 zlo zhi\n\nMasses\n\n1 39.95\n\n"
        "Atoms # atomic\n\n1 1 0 0 0\n"
    ),
}


@pytest.mark.parametrize("count", [10**9, 10**12])
@pytest.mark.parametrize("name", LYING)
def test_a_number_of_atoms_that_are_not_there_is_refused_at_once(tmp_path, name, count):
    path = tmp_path / name
    path.write_text(LYING[name].format(count))
    started = time.process_time()
    with pytest.raises(StructureError, match=str(path)):
        read_frames(str(path), name if "-" in name else None)
    assert time.process_time() - started < limits.SECONDS  # the bound of the reader itself, far above a moment


def test_a_reader_that_takes_too_long_or_too_much_is_stopped(tmp_path, crystal, monkeypatch):
    write(tmp_path / "ar.cif", crystal)

    def endless(*words, **options):
        while True:
            pass

    def greedy(*words, **options):
        return np.empty(1 << 45)

    monkeypatch.setattr(limits, "SECONDS", 0.2)
    monkeypatch.setattr(limits, "SECONDS_PER_BYTE", 0.0)
    for reader, message in ((endless, "given up after 0 s"), (greedy, "more memory than they can need")):
        monkeypatch.setattr(reading.ase.io, "read", reader)
        with pytest.raises(StructureError, match=message):
            read_frames(str(tmp_path / "ar.cif"))
    assert np.empty(1 << 27).nbytes == 1 << 30  # the bound is gone afterwards


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1\n\nAr 0 0 0\n\n1\n\nAr 0 0 1\n", "Line 5 of .* follows an empty line"),
        ("1\n\nAr 0 0 0\nAr 0 0 4\n", "Line 4 of .* should be a number of atoms: 'Ar 0 0 4'"),
        ("2\n\nAr 0 0 0\n", "line 1 should have 2 atoms, but 1 follow"),
        ("1\nProperties=species:S:1:pos:R:3\nAr 0 0 0 7\n", "has 5 columns, but Properties declares 4"),
        ("1\n\nAr 0 0 0", "ends within a line"),
        ("", "is empty"),
        ("\n\n", "is empty"),
    ],
)
def test_frames_that_would_be_passed_over_are_refused(tmp_path, content, message):
    path = tmp_path / "ar.xyz"
    path.write_text(content)
    with pytest.raises(StructureError, match=message):
        read_frames(str(path))
    with pytest.raises(TrainingError, match=message):
        read_training_frames([(path.name, path)])


def test_columns_that_nobody_declared_are_named(tmp_path, caplog):
    path = tmp_path / "ar.xyz"
    path.write_text("1\n\nAr 0 0 0 0.1 0.2 0.3\n" * 2)
    assert len(read_frames(str(path))) == 2
    assert caplog.text.count("3 columns that no Properties declare") == 1


HEAVY = ["water.xyz", "water.pdb", "POSCAR", "water.gen", "coord", "water.sdf", "water.cif"]


@pytest.mark.parametrize(("symbol", "mass"), [("D", 2.014), ("T", 3.016)])
@pytest.mark.parametrize("name", HEAVY)
def test_heavy_hydrogen_is_hydrogen_with_its_mass(tmp_path, name, symbol, mass):
    water = molecule("H2O", cell=[8, 8, 8], pbc=True)
    path = tmp_path / name
    chosen = {"water.gen": "gen", "water.sdf": "sdf"}.get(name)
    write(path, water, format=chosen)
    plain = read_frames(str(path), chosen)[0]
    if symbol == "D" and name.endswith(".cif"):
        mass = 2.01355  # ASE's own, without the electron
    content = path.read_text()
    content = re.sub(r"\bH(?=\d*\b)", symbol, content)
    path.write_text(re.sub(r"\bh\b", symbol.lower(), content))
    (atoms,) = read_frames(str(path), chosen)
    assert sorted(atoms.get_chemical_symbols()) == ["H", "H", "O"]
    np.testing.assert_allclose(atoms.positions, plain.positions, atol=1e-6)
    np.testing.assert_allclose(atoms.get_masses()[atoms.numbers == 1], mass, atol=1e-3)


def test_velocities_of_heavy_hydrogen_stay_what_the_file_says(tmp_path):
    content = "D\n1.0\n5 0 0\n0 5 0\n0 0 5\nD\n1\nDirect\n0 0 0\n\n 0.01 0.02 0.03\n"
    (tmp_path / "POSCAR").write_text(content.replace("D\n1\n", "H\n1\n"))
    plain = read_frames(str(tmp_path / "POSCAR"))[0].get_velocities()
    (tmp_path / "POSCAR").write_text(content)
    np.testing.assert_allclose(read_frames(str(tmp_path / "POSCAR"))[0].get_velocities(), plain)
    assert plain.any()


def test_unknown_symbols_are_still_refused(tmp_path):
    (tmp_path / "a.xyz").write_text("1\n\nDx 0 0 0\n")
    with pytest.raises(StructureError, match="cannot be read as extxyz: 'Dx'"):
        read_frames(str(tmp_path / "a.xyz"))


LAMMPS = """LAMMPS data{units}

2 atoms
2 atom types

0 5 xlo xhi
0 5 ylo yhi
0 5 zlo zhi

{masses}Atoms # atomic

1 1 0 0 0
2 2 2.5 2.5 2.5
"""


def lammps(tmp_path, masses, units=""):
    path = tmp_path / "a.data"
    path.write_text(LAMMPS.format(masses=masses, units=units))
    return str(path)


@pytest.mark.parametrize(
    ("masses", "symbols"),
    [
        ("Masses\n\n1 22.99\n2 35.45\n\n", ["Na", "Cl"]),
        ("Masses\n\n1 22.99 # Na\n2 35.45 # Cl\n\n", ["Na", "Cl"]),
        ("Masses\n\n1 1.0\n2 16\n\n", ["H", "O"]),
        ("Masses\n\n1 2.014\n2 3.016\n\n", ["H", "H"]),
        ("Masses\n\n1 12.01 # CT, sp3\n2 1.008 # HC\n\n", ["C", "H"]),
        ("Atom Type Labels\n\n1 Si\n2 C\n\n", ["Si", "C"]),
    ],
)
def test_elements_of_lammps_types_come_from_masses_and_labels(tmp_path, masses, symbols):
    (atoms,) = read_frames(lammps(tmp_path, masses), "lammps-data")
    assert atoms.get_chemical_symbols() == symbols


@pytest.mark.parametrize(
    ("masses", "message"),
    [
        ("", "does not say which elements its types are"),
        ("Masses\n\n1 72.0\n2 35.45\n\n", "Type 1 of .* has the mass 72.0, which is no element's"),
        ("Masses\n\n1 16.04 # C\n2 35.45\n\n", "Type 1 of .* is called C, but its mass 16.04 is that of O"),
    ],
)
def test_lammps_types_that_could_be_any_element_are_refused(tmp_path, masses, message):
    with pytest.raises(StructureError, match=message):
        read_frames(lammps(tmp_path, masses), "lammps-data")


DUMP = """ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
1
ITEM: BOX BOUNDS pp pp pp
0 5
0 5
0 5
ITEM: ATOMS id type {columns}
1 1 {values}
"""


def test_a_dump_without_elements_is_refused_and_one_with_is_read_with_velocities(tmp_path):
    path = tmp_path / "ar.dump"
    path.write_text(DUMP.format(columns="x y z", values="0 0 0"))
    with pytest.raises(StructureError, match="does not say which elements"):
        read_frames(str(path))
    path.write_text(DUMP.format(columns="element x y z vx vy vz fx fy fz", values="Ar 0 0 0 1 2 3 0 0 0"))
    (atoms,) = read_frames(str(path))
    assert atoms.get_chemical_symbols() == ["Ar"]
    assert atoms.get_velocities().any()
    assert "energy" not in atoms.calc.results  # ASE makes one up


def test_the_format_is_named_where_it_cannot_be_told(tmp_path, capsys):
    path = lammps(tmp_path, "Masses\n\n1 39.95\n2 39.95\n\n")
    for command in (["run"], ["md", "--steps", "1", "-o", str(tmp_path / "md")], ["relax"]):
        assert main([command[0], path, *command[1:], "-m", MODEL]) == 1
        assert "read it with --format lammps-data" in capsys.readouterr().err
    assert main(["run", path, "-m", MODEL, "--format", "lammps-data"]) == 0
    assert "Ar2" in capsys.readouterr().out
    assert main(["run", path, "-m", MODEL, "--format", "lammps-dat"]) == 2
    assert "did you mean 'lammps-data'" in capsys.readouterr().err
    (tmp_path / "unknown").write_text("what is this\n")
    assert main(["run", str(tmp_path / "unknown"), "-m", MODEL]) == 1
    assert "name that with --format" in capsys.readouterr().err


ROUNDED = """data_hcp
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c 5.21
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_symmetry_space_group_name_H-M 'P 63/m m c'
_space_group_IT_number 194
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Mg1 Mg {x} {y} 0.25
"""


def test_sites_that_rounding_has_multiplied_are_refused(tmp_path):
    path = tmp_path / "hcp.cif"
    for x, y in ((0.33, 0.67), (0.333, 0.667), (0.3, 0.7)):
        path.write_text(ROUNDED.format(a=3.21, x=x, y=y))
        with pytest.raises(
            StructureError, match=r"symmetry puts Mg \(atom \d\) and Mg \(atom \d\) 0\.\d+ Å apart"
        ):
            read_frames(str(path))
    path.write_text(ROUNDED.format(a=3.21, x=0.33333, y=0.66667))
    assert len(read_frames(str(path))[0]) == 2


def test_states_of_training_frames_are_named(tmp_path, caplog):
    atoms = Atoms("Ar2", positions=[(0, 0, 0), (0, 0, 4)], info={"charge": -1})
    write(tmp_path / "a.extxyz", [atoms] * 3)
    with caplog.at_level(logging.WARNING):
        frames = read_training_frames([("a.extxyz", tmp_path / "a.extxyz")])
        assert len(frames) == 3
        say_unused(frames, ["charge"])
        assert not caplog.text
        say_unused(frames, [])
    assert caplog.text.count("charge = -1") == 1


@pytest.mark.parametrize(
    "name", ["A.EXTXYZ", "A.XYZ", "A.Extxyz.GZ", "A.TRAJ", "A.DB", "A.ARROW", "A.H5", "A.HDF5"]
)
def test_endings_in_capitals_are_endings(tmp_path, crystal, name):
    """Of what is read, by commands as well as for training; units of HDF5 are those of its kind."""
    path, small = tmp_path / name, tmp_path / name.lower()
    crystal.calc = SinglePointCalculator(crystal, energy=-1.5)
    form = name.lower().split(".")[1]
    if form == "arrow":
        pytest.importorskip("pyarrow", reason="packed files are read by pyarrow, of the extra `data`")
        write(tmp_path / "a.traj", crystal)
        convert([tmp_path / "a.traj"], small, dict.fromkeys(("energy", "forces", "stress")), None)
    elif form in ("h5", "hdf5"):
        h5py = pytest.importorskip("h5py", reason="h5py is not installed, which reads HDF5")
        crystal = molecule("H2O")
        with h5py.File(small, "w") as file:
            file["z"], file["pos"], file["y"] = crystal.numbers[None], crystal.positions[None], [[-1.5]]
    else:
        write(small, crystal, format="extxyz" if form.endswith("xyz") else None)
    small.rename(path)
    assert {each.name for each in tmp_path.glob("A.*")} == {name}
    (one,), (other,) = read_frames(str(path)), read_training_frames([(name, path)])
    np.testing.assert_allclose(one.positions, crystal.positions, atol=DECIMALS)
    np.testing.assert_allclose(other.atoms.positions, crystal.positions, atol=DECIMALS)
    unit = units.kcal / units.mol if form in ("h5", "hdf5") else 1.0
    assert one.get_potential_energy() == pytest.approx(-1.5 * unit)
