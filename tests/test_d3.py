"""D3 is what simple-dftd3 computes, its derivatives are derivatives, and sums with it are exact."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule
from ase.io import read, write
from ase.units import Bohr, Hartree
from test_combined import pair

import halocline
from halocline import sum_of
from halocline.cli.main import main
from halocline.errors import BackboneError, StructureError, UnknownElementError, UsageError
from halocline.graph import Structure

pytest.importorskip("tad_dftd3", reason="D3 takes its tables from there")

from halocline.plugins.dispersion import passes
from halocline.plugins.dispersion.evaluator import Cutoffs, D3Evaluator

#: Of simple-dftd3 1.7.0, by ``oracles/d3/make.py``; atomic units.
PUBLISHED = json.loads((Path(__file__).parent / "oracles" / "d3" / "answers.json").read_text(encoding="utf-8"))

#: Everything at once, short enough for finite differences and for NumPy.
SHORT = "atm=true,cutoff=9,coordination_cutoff=7,atm_cutoff=5"


def frames():
    return {
        frame["name"]: Atoms(frame["symbols"], frame["positions"], cell=frame["cell"], pbc=frame["pbc"])
        for frame in PUBLISHED["frames"]
    }


def term(case):
    spec = f"d3:functional={case['functional']},damping={case['damping']},atm={str(case['atm']).lower()}"
    if case["cutoffs"]:
        names = ("cutoff", "coordination_cutoff", "atm_cutoff")
        spec += "".join(f",{name}={value * Bohr!r}" for name, value in zip(names, case["cutoffs"], strict=True))
    return halocline.load(spec)


def require_close(found, expected):
    """Relative to the largest, as sums of 10⁵ pairs and 10⁷ triples round; of zero forces what is left of them."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max() + 1e-13)


@pytest.mark.parametrize("name", frames())
def test_numbers_are_those_of_simple_dftd3(name):
    """For molecules, slabs and crystals; both dampings, with triples and without, short and long cutoffs."""
    atoms = frames()[name]
    for case in (each for each in PUBLISHED["results"] if each["frame"] == name):
        result = term(case)(atoms)
        require_close(result.energy, case["energy"] * Hartree)
        require_close(result.forces, -np.array(case["gradient"]) * Hartree / Bohr)
        if case["virial"] is not None:
            require_close(result.virial, np.array(case["virial"]) * Hartree)


def strained(atoms, strain):
    moved = atoms.copy()
    deformation = (np.eye(3) + strain).T
    moved.set_cell(atoms.cell.array @ deformation)
    moved.positions = atoms.positions @ deformation
    return moved


def rattled():
    for atoms in (molecule("CH3OH"), bulk("NaCl", "rocksalt", a=5.6)):
        atoms.rattle(0.1, seed=1)
        yield atoms


@pytest.mark.parametrize("damping", ["bj", "zero"])
def test_forces_and_virial_are_derivatives(damping):
    """Central differences of 1e-4 Å are off by 1e-8 of the third derivatives, and by rounding of 1e-12 eV."""
    dispersion, step = halocline.load(f"d3:functional=pbe,damping={damping},{SHORT}"), 1e-4
    for atoms in rattled():
        result = dispersion(atoms)
        direction = np.random.default_rng(0).normal(size=(len(atoms), 3))
        moved = [atoms.copy(), atoms.copy()]
        for each, sign in zip(moved, (1, -1), strict=True):
            each.positions += sign * step * direction
        slope = np.subtract(*(dispersion(each).energy for each in moved)) / (2 * step)
        assert slope == pytest.approx(-(result.forces * direction).sum(), abs=1e-6)
        strain = np.random.default_rng(1).normal(size=(3, 3))
        slope = np.subtract(*(dispersion(strained(atoms, s * strain)).energy for s in (step, -step))) / (2 * step)
        assert slope == pytest.approx((result.virial * strain).sum(), abs=1e-6)


@pytest.mark.parametrize("damping", ["bj", "zero"])
def test_compiled_sums_are_those_of_numpy(damping, monkeypatch):
    monkeypatch.setattr(passes, "AT_ONCE", 50)  # several blocks, of a few atoms each
    evaluator = halocline.load(f"d3:functional=pbe,damping={damping},{SHORT}").backbone.evaluator()
    for atoms in (*rattled(), bulk("Mg").repeat((1, 2, 1))):
        structure = Structure.from_atoms(atoms)
        fast = evaluator.evaluate(structure)
        monkeypatch.setattr(evaluator, "_sums", passes)
        plain = evaluator.evaluate(structure)
        monkeypatch.undo()
        for what in ("energies", "forces", "virial"):
            np.testing.assert_allclose(getattr(fast, what), getattr(plain, what), rtol=0, atol=1e-13)


def test_one_crystal_in_other_cells_is_one_crystal():
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.rattle(0.1, seed=2)
    dispersion = halocline.load("d3:functional=pbe")
    result, skewed = dispersion(atoms), atoms.copy()
    skewed.set_cell(np.array([[1, 0, 0], [5, 1, 0], [-3, 4, 1]]) @ atoms.cell.array)
    skewed.positions += [[50.0, 3.0, -70.0], [50.0, 3.0, -70.0]]
    again = dispersion(skewed)
    large = dispersion(make_supercell(atoms, [[3, 0, 0], [0, 2, 0], [1, 0, 4]]))
    assert large.energy == pytest.approx(24 * result.energy, rel=1e-10)
    require_close(large.virial, 24 * result.virial)
    require_close(again.forces, result.forces)
    require_close(again.virial, result.virial)


def test_a_chain_is_what_it_adds_to_a_long_molecule():
    """Along one direction simple-dftd3 is no reference; two molecules of which one is a unit longer are."""
    unit = Atoms(
        "CH2", [[0.0, 0.0, 0.0], [0.1, 0.9, 0.6], [0.0, -0.9, 0.6]], cell=[1.3, 0, 0], pbc=[True, False, False]
    )
    dispersion = halocline.load("d3:functional=pbe,atm=true,atm_cutoff=8")

    def molecule_of(units):
        long = unit.repeat((units, 1, 1))
        long.pbc = False
        return dispersion(long).energy

    # Units farther apart than twice the cutoffs do not know of each other, but through coordination numbers.
    assert dispersion(unit).energy == pytest.approx(molecule_of(91) - molecule_of(90), rel=1e-9)


def mixed():
    crystal = Atoms("OHHOHH", np.random.default_rng(3).uniform(0, 6, (6, 3)), cell=[6.0, 7.0, 6.5], pbc=True)
    return [molecule("H2O"), crystal, molecule("H2O2")]


@pytest.mark.parametrize("options", [{}, {"partition": "rcb:2"}, {"partition": "rcb:2", "halo": "exchange"}])
def test_sums_are_exact_in_parts_and_batches(options):
    """The term is evaluated whole beside the parts, in float64 whatever the dtype of the network."""
    network, dispersion = pair(), halocline.load("d3:functional=pbe")
    whole = sum_of(network, dispersion)
    found = whole(mixed(), **options)
    for atoms, result in zip(mixed(), found, strict=True):
        one, other = network(atoms), dispersion(atoms)
        np.testing.assert_allclose(result.energies, one.energies + other.energies, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(result.forces - one.forces, other.forces, atol=1e-5 * np.abs(one.forces).max())
        alone = whole(atoms, dtype="float64", **options)
        exact = network(atoms, dtype="float64").forces + other.forces
        np.testing.assert_allclose(alone.forces, exact, rtol=0, atol=1e-10 * np.abs(exact).max())


def test_what_is_not_there_is_named(monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="no functional with parameters of D3 named 'pbee'; did you mean 'pbe'"):
        halocline.load("d3:functional=pbee")
    with pytest.raises(UsageError, match=r"no parameters of 'slaterdirac' for bj damping"):
        halocline.load("d3:functional=slaterdirac")
    with pytest.raises(UsageError, match="no damping of D3 named 'bk'; did you mean 'bj'"):
        halocline.load("d3:functional=pbe,damping=bk")
    with pytest.raises(UsageError, match="no option of 'd3' named 'functionals'; did you mean 'functional'"):
        halocline.load("d3:functionals=pbe")
    with pytest.raises(UsageError, match="'d3' needs the option functional"):
        halocline.load("d3")
    with pytest.raises(UsageError, match="cutoff of D3 must be above 0 Å"):
        halocline.load("d3:functional=pbe,cutoff=nan")
    with pytest.raises(UsageError, match="no layers to prune"):
        halocline.load("d3:functional=pbe", prune=1)
    dispersion = halocline.load("d3:functional=pbe")
    with pytest.raises(UnknownElementError, match="does not know Rf"):
        dispersion(Atoms("Rf"))
    with pytest.raises(StructureError, match="at the same place"):
        dispersion(Atoms("Ar2"))
    with pytest.raises(StructureError, match="cell is far too small"):
        dispersion(Atoms("Ar", cell=[0.1, 0.1, 0.1], pbc=True))
    with pytest.raises(BackboneError, match="'d3' has no stages and no weights"):
        dispersion.save(tmp_path / "d3.safetensors")
    with pytest.raises(UsageError, match="ddp evaluates networks"):
        dispersion(molecule("H2O"), backend="ddp:ranks=2")
    for name in ("tad_dftd3.param", "tad_dftd3"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=r"pip install 'halocline\[d3\]'"):
        halocline.load("d3:functional=pbe")


def test_without_a_compiler_it_says_so(monkeypatch, caplog):
    def refuse():
        raise halocline.errors.KernelError("There is no compiler.")

    monkeypatch.setattr("halocline.plugins.dispersion.compiled.load_passes", refuse)
    backbone = halocline.load("d3:functional=pbe").backbone
    evaluator = D3Evaluator(backbone.tables, backbone.damping, Cutoffs(20.0, 20.0, 20.0))
    assert "by NumPy" in caplog.text
    assert evaluator.evaluate(Structure.from_atoms(molecule("H2O"))).energy < 0.0


@pytest.mark.parametrize(
    ("theory", "warned"),
    [
        ("revPBE0-D3", True),
        ("PBE-D3(BJ)/def2-TZVP", True),
        ("B97M-V", True),
        ("optB88-vdW", True),
        ("r2SCAN+rVV10", True),
        ("PBE (VASP 52)", False),
        ("CCSD(T)/aug-cc-pVDZ", False),
        ("B3LYP/6-31G(2df,p)", False),
        ("PBE+U, Materials Project", False),
    ],
)
def test_labels_that_hold_dispersion_are_told(theory, warned, caplog):
    network = pair()
    network.card["level_of_theory"] = theory
    sum_of(network, halocline.load("d3:functional=pbe"))
    assert ("counts twice" in caplog.text) == warned


def test_commands_add_it_and_go_on_with_it_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pair().save("pair.safetensors")
    write("in.extxyz", mixed())
    words = ["-m", "pair.safetensors", "--dtype", "float64", "--add"]
    assert main(["run", "in.extxyz", *words, "d3:functional=pbe", "-o", "out.extxyz"]) == 0
    expected = sum_of(pair(), halocline.load("d3:functional=pbe"))(mixed(), dtype="float64")
    for frame, result in zip(read("out.extxyz", ":"), expected, strict=True):
        assert frame.get_potential_energy() == pytest.approx(result.energy, abs=1e-6)  # positions have 8 decimals
    resumed = ["run", "in.extxyz", *words, "d3:functional=blyp", "-o", "out.extxyz", "--resume"]
    assert main(resumed) == 1
    assert "model was" in capsys.readouterr().err
    start = molecule("H2O")
    write("start.extxyz", start)
    options = ["--ensemble", "nve", "--timestep", "0.1", "-o", "md"]
    steps = ["md", "start.extxyz", *words, "d3:functional=pbe", *options]
    assert main([*steps, "--steps", "2"]) == 0
    assert main([*steps, "--steps", "4", "--resume"]) == 0
    other = [word.replace("=pbe", "=blyp") for word in steps]
    assert main([*other, "--steps", "6", "--resume"]) == 1
    assert "other options: model was" in capsys.readouterr().err
    assert main(["relax", "in.extxyz", *words, "d3:functional=pbe", "--max-steps", "2"]) in (0, 1)
    assert main(["run", "in.extxyz", *words, "d3:functional=pbee"]) == 2
    assert "did you mean 'pbe'" in capsys.readouterr().err
