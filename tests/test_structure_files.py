"""What a structure file states is used, written again, refused or named, never lost in silence."""

import io
import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLength, FixCartesian, FixScaled
from ase.io import read, write
from ase.io.extxyz import write_extxyz

import halocline
from halocline.cli.main import main
from halocline.errors import StructureError
from halocline.structures.constraints import simplify
from halocline.structures.read import read_frames
from halocline.structures.write import extended_xyz

MODEL = "lennard-jones-argon"
DECIMALS = 1e-8  # extended XYZ stores eight


@pytest.fixture
def slab():
    """Argon, its lowest layer fixed, with tags."""
    atoms = fcc111("Al", (2, 2, 3), a=5.3, vacuum=8.0)
    atoms.symbols[:] = "Ar"
    atoms.rattle(0.1, seed=2)
    atoms.set_constraint(FixAtoms([0, 1, 2, 3]))
    atoms.info.clear()  # what the builder leaves there has no form in extended XYZ
    return atoms


@pytest.fixture
def model():
    return halocline.load(MODEL)


def relaxed(start, folder):
    main(["relax", str(start), "-m", MODEL, "--max-steps", "4", "-o", str(folder / "relaxed.extxyz")])
    return folder / "relaxed.extxyz", folder / "relaxed-steps.extxyz"


def moved(start, folder):
    words = ["--steps", "20", "--temperature", "30", "--interval", "5", "-o", str(folder / "md")]
    assert main(["md", str(start), "-m", MODEL, *words]) == 0
    return (folder / "md.extxyz",)


def labelled(start, folder):
    assert main(["run", str(start), "-m", MODEL, "-o", str(folder / "run.extxyz"), "--overwrite"]) == 0
    return (folder / "run.extxyz",)


def raw_forces(atoms, model):
    free = atoms.copy()
    free.set_constraint()
    return model(free).forces


@pytest.mark.parametrize("name", ["slab.extxyz", "slab.traj", "POSCAR"])
@pytest.mark.parametrize("command", [labelled, relaxed, moved])
def test_constraints_and_tags_outlive_every_command(slab, model, tmp_path, command, name):
    write(tmp_path / name, slab)
    for path in command(tmp_path / name, tmp_path):
        for atoms in read(path, ":"):
            assert len(atoms.constraints) == 1
            np.testing.assert_array_equal(atoms.constraints[0].index, [0, 1, 2, 3])
            np.testing.assert_allclose(atoms.positions[:4], slab.positions[:4], atol=DECIMALS)
            if name != "POSCAR":  # which has no place for them
                np.testing.assert_array_equal(atoms.get_tags(), slab.get_tags())
            np.testing.assert_allclose(atoms.calc.results["forces"], raw_forces(atoms, model), atol=1e-6)
            assert np.abs(atoms.calc.results["forces"][:4]).max() > 1e-3


@pytest.mark.parametrize("first", [labelled, relaxed, moved])
@pytest.mark.parametrize("second", [relaxed, moved])
def test_going_on_from_an_output_moves_no_fixed_atom(slab, tmp_path, first, second):
    write(tmp_path / "slab.traj", slab)
    (tmp_path / "second").mkdir()
    for start in first(tmp_path / "slab.traj", tmp_path):
        for path in second(start, tmp_path / "second"):
            np.testing.assert_allclose(read(path).positions[:4], slab.positions[:4], atol=DECIMALS)
            assert np.abs(read(path).positions[4:] - slab.positions[4:]).max() > 1e-3
            path.unlink()
        for rest in (tmp_path / "second").iterdir():
            rest.unlink()


def test_masses_charges_and_state_go_along(slab, tmp_path):
    slab.set_masses(np.linspace(30, 50, len(slab)))
    slab.set_initial_charges(np.linspace(-1, 1, len(slab)))
    slab.info["charge"] = 2
    write(tmp_path / "slab.extxyz", slab)
    for command in (labelled, relaxed, moved):
        for path in command(tmp_path / "slab.extxyz", tmp_path):
            atoms = read(path)
            np.testing.assert_allclose(atoms.get_masses(), slab.get_masses(), atol=DECIMALS)
            np.testing.assert_allclose(atoms.get_initial_charges(), slab.get_initial_charges(), atol=DECIMALS)
            assert atoms.info["charge"] == 2


def test_selective_dynamics_by_direction_survives_a_round_trip(slab, tmp_path):
    slab.set_constraint([FixAtoms([0]), FixScaled([1], (0, 0, 1)), FixScaled([2], (1, 1, 0))])
    write(tmp_path / "POSCAR", slab)
    for name in ("POSCAR", "run.extxyz"):
        (atoms,) = read_frames(str(tmp_path / name))
        fixed = np.zeros((len(atoms), 3), bool)
        for constraint in atoms.constraints:
            fixed[constraint.index] = True if isinstance(constraint, FixAtoms) else constraint.mask
        expected = np.zeros_like(fixed)
        expected[0], expected[1, 2], expected[2, :2] = True, True, True
        np.testing.assert_array_equal(fixed, expected)
        assert len(atoms.constraints) == 3
        labelled(tmp_path / "POSCAR", tmp_path)


@pytest.mark.parametrize("seed", range(5))
def test_simplified_constraints_allow_the_same_moves(slab, seed):
    rng = np.random.default_rng(seed)
    masks = rng.integers(0, 2, (3, 3)).astype(bool)
    given = [FixCartesian([int(i)], mask) for i, mask in zip(rng.permutation(12)[:3], masks, strict=True)]
    given += [FixAtoms([1]), FixScaled([5], (0, 0, 1)), FixScaled([6], (1, 0, 0))]
    slab.set_constraint(given)
    simple = slab.copy()
    simplify(simple)
    target = slab.positions + rng.normal(size=slab.positions.shape)
    slab.set_positions(target)
    simple.set_positions(target)
    np.testing.assert_allclose(simple.positions, slab.positions, atol=1e-12)


def test_a_constraint_that_cannot_be_written_is_named(slab, tmp_path, caplog):
    slab.set_constraint([FixAtoms([0]), FixBondLength(1, 2)])
    write(tmp_path / "slab.traj", slab)
    labelled(tmp_path / "slab.traj", tmp_path)
    assert "cannot hold the constraint FixBondLength" in caplog.text
    caplog.clear()
    relaxed(tmp_path / "slab.traj", tmp_path)
    assert caplog.text.count("cannot hold the constraint FixBondLength") == 1


@pytest.mark.parametrize(
    "occupancy",
    [
        {"0": {"Ar": 0.5, "Kr": 0.5}},
        {"0": {"Ar": 1.0}, "1": {"Ar": 0.5}},
        {"0": {"Ar": 0.0}},
        {"0": {"Ar": 1.0, "Kr": "?"}},
    ],
)
def test_partial_occupancies_are_refused_by_site(model, occupancy):
    atoms = bulk("Ar", "fcc", 5.3, cubic=True)
    atoms.info["occupancy"] = occupancy
    with pytest.raises(StructureError, match=f"in part: site {len(occupancy) - 1}"):
        model(atoms)
    with pytest.raises(StructureError, match="in part"):
        model.calculator().get_potential_energy(atoms)


@pytest.mark.parametrize("name", ["occupancy", "occupancies"])
def test_partial_occupancies_of_atoms_are_refused(model, name):
    atoms = bulk("Ar", "fcc", 5.3, cubic=True)
    atoms.set_array(name, np.array([1.0, 1.0, 0.6, 0.4]))
    with pytest.raises(StructureError, match=r"atom 2: Ar 0\.6; atom 3: Ar 0\.4"):
        model(atoms)


@pytest.mark.parametrize("occupancy", [{"0": {"Ar": 1.0}}, {"0": {"Ar": 0.999}}, {"0": {"Ar": "."}}, {}])
def test_full_occupancies_are_no_reason_to_refuse(model, occupancy):
    atoms = bulk("Ar", "fcc", 5.3, cubic=True)
    energy = model(atoms).energy
    atoms.info["occupancy"] = occupancy
    atoms.set_array("occupancy", np.zeros(4))  # never filled in
    assert model(atoms).energy == energy


CIF = """data_alloy
_cell_length_a 5.3
_cell_length_b 5.3
_cell_length_c 5.3
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Ar1 Ar 0 0 0 1.0
Ar2 Ar 0.5 0.5 0 0.7
Ne2 Ne 0.5 0.5 0 0.3
"""


def test_a_disordered_crystal_is_refused_by_every_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "disorder.cif"
    path.write_text(CIF)
    for words in (["run"], ["relax"], ["md", "--steps", "2"]):
        assert main([words[0], str(path), *words[1:], "-m", MODEL]) == 1
        assert "site 1 (atom 1): Ar 0.7, Ne 0.3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("charge", 1, True),
        ("charge", 0, False),
        ("total_charge", -1.0, True),
        ("spin", 2, True),
        ("multiplicity", 1, False),
        ("multiplicity", 3, True),
        ("external_field", np.array([0.0, 0.0, 0.1]), True),
        ("charge", "cation", True),
    ],
)
def test_charge_spin_and_fields_are_said_once_to_change_nothing(model, caplog, name, value, said):
    atoms = bulk("Ar", "fcc", 5.3, cubic=True)
    atoms.info[name] = value
    for _ in range(3):
        model(atoms)
    assert caplog.text.count(f"{name} = ") == said


def test_charges_and_moments_of_atoms_are_said_once(model, caplog):
    atoms = bulk("Ar", "fcc", 5.3, cubic=True)
    atoms.set_initial_charges([0.0, 0.0, 0.5, -0.5])
    atoms.set_initial_magnetic_moments([0.0, 0.0, 0.0, 1.0])
    for _ in range(3):
        model(atoms)
    assert caplog.text.count("initial_charges of up to 0.5") == 1
    assert caplog.text.count("initial_magmoms of up to 1") == 1
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize("name", ["vel", "velo", "velocities", "mass"])
def test_a_column_in_an_unknown_unit_is_named_when_dynamics_starts(slab, tmp_path, caplog, name):
    column = np.ones(len(slab)) if name == "mass" else np.ones((len(slab), 3))
    slab.set_array(name, column)
    write(tmp_path / "slab.extxyz", slab)
    moved(tmp_path / "slab.extxyz", tmp_path)
    assert caplog.text.count(f"The column {name} is not used") == 1


def test_velocities_that_are_read_are_used(slab, tmp_path):
    slab.set_constraint()
    slab.set_velocities(np.random.default_rng(0).normal(size=(len(slab), 3)) * 1e-3)
    write(tmp_path / "slab.traj", slab)
    write(tmp_path / "slab.extxyz", slab)
    for name in ("slab.traj", "slab.extxyz"):
        words = ["--steps", "0", "--overwrite", "-o", str(tmp_path / "md")]
        assert main(["md", str(tmp_path / name), "-m", MODEL, *words]) == 0
        np.testing.assert_allclose(read(tmp_path / "md.extxyz").get_momenta(), slab.get_momenta(), atol=DECIMALS)


def test_entries_of_any_kind_stay_on_one_line_and_come_back(caplog):
    atoms = Atoms("Ar2", positions=[(0, 0, 0), (0, 0, 4)])
    atoms.info = {
        "title": "first\nsecond\u2028third\r\nlast",
        "path": r"C:\new\table",
        "nothing": None,
        "object": object(),
        "nested": {"a": [1, 2], "b": "c d"},
        "number": 3,
    }
    atoms.set_array("flags", np.array([1, 2], dtype=np.uint8))
    atoms.set_array("tensors", np.arange(18.0).reshape(2, 3, 3))
    back = read(io.StringIO(extended_xyz([atoms, atoms]).decode()), ":", format="extxyz")
    assert len(back) == 2
    assert back[1].info["title"] == "first second third last"
    assert back[1].info["path"] == r"C:\new\table"
    assert back[1].info["nested"] == {"a": [1, 2], "b": "c d"}
    assert "nothing" not in back[1].info
    assert caplog.text.count("no form for the entry nothing, object") == 1
    np.testing.assert_array_equal(back[1].arrays["flags"], [1, 2])
    np.testing.assert_array_equal(back[1].arrays["tensors"], np.arange(18.0).reshape(2, 9))


def random_frame(seed):
    """A structure with columns, entries, constraints and results of all kinds."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 6))
    atoms = Atoms("Ar" * count, positions=rng.normal(0, 10.0 ** rng.integers(-9, 9), (count, 3)))
    if seed % 2:
        atoms.set_cell(rng.normal(5, 1, (3, 3)))
        atoms.pbc = rng.integers(0, 2, 3).astype(bool)
    atoms.set_tags(rng.integers(0, 9, count))
    atoms.set_array("names", np.array(["a", "bc", "d", "e", "f"])[:count])
    atoms.set_array("column", rng.normal(size=(count, 1)))
    atoms.set_array("flags", rng.integers(0, 2, (count, 2)).astype(bool))
    atoms.info |= {"title": "two words", "scale": float(rng.normal()), "list": rng.normal(size=4)}
    if seed % 3:
        held = (
            [FixAtoms([0])] if seed % 3 == 1 else [FixAtoms([0]), FixCartesian([count - 1], (True, False, True))]
        )
        atoms.set_constraint(held)
    atoms.calc = SinglePointCalculator(
        atoms, energy=float(rng.normal()), forces=rng.normal(size=(count, 3)), stress=rng.normal(size=6)
    )
    return atoms


@pytest.mark.parametrize("seed", range(12))
def test_frames_are_written_as_by_ase_and_exactly_if_asked(seed):
    atoms = random_frame(seed)
    text = io.StringIO()
    write_extxyz(text, [atoms])
    assert extended_xyz([atoms]).decode() == text.getvalue()
    back = read(io.StringIO(extended_xyz([atoms], exact=True).decode()), format="extxyz")
    np.testing.assert_array_equal(back.positions, atoms.positions)
    np.testing.assert_array_equal(back.cell.array, atoms.cell.array)
    np.testing.assert_array_equal(back.arrays["column"], atoms.arrays["column"][:, 0])
    for name in ("energy", "forces", "stress"):
        np.testing.assert_array_equal(back.calc.results[name], atoms.calc.results[name])
    assert [c.todict() for c in back.constraints] == [
        c.todict() for c in read(io.StringIO(text.getvalue()), format="extxyz").constraints
    ]
