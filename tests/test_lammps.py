"""The pair style in a real LAMMPS with a real MPI, against the calculator; and what exports tell engines."""

import re

import fake_slurm
import lammps_runs
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.io import write
from ase.md.velocitydistribution import thermalize_momenta
from cluster_page import blocks, changed
from halocline_lammps.build import BuildError, build

import halocline
from halocline.aggregation import Form
from halocline.backends.torch import engine
from halocline.backends.torch.exporter import AotExporter
from halocline.cli.main import main
from halocline.errors import LoweringError, UsageError
from halocline.lowering import lower
from halocline.model.backbone import Output
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.plugins.backbones.m3gnet.three_body import ThreeBody
from halocline.potential.potential import Potential
from halocline.program import Capabilities, FrozenModel, Precision

ELEMENTS = ["Na", "Cl"]
REFERENCES = {"Na": -1.25, "Cl": -3.5}

#: Of energies in eV, forces in eV/Å and stress in eV/Å³: the same program in float64, summed in another order.
SAME = 1e-10

SCRIPT = f"""
units {{units}}
atom_style {{atoms}}
newton {{newton}}
boundary p p p
{{processors}}
read_data data
plugin load {{plugin}}
{{before}}
pair_style {{style}}
pair_coeff * * {{model}} {{elements}}
compute own all pe/atom
thermo_style custom {lammps_runs.COLUMNS}
thermo_modify format float %.15g
dump forces all custom 1 forces id fx fy fz c_own
dump_modify forces sort id format float %.17g
{{run}}
"""

MISSING = lammps_runs.missing()
needs_lammps = pytest.mark.skipif(bool(MISSING), reason=MISSING or "nothing is missing")


def schnet(**changes):
    config = {"species": ELEMENTS, "features": 16, "layers": 2, "cutoff": 4.0} | changes
    return Potential(build_backbone("schnet", config), REFERENCES, {"name": "schnet"})


def example(name, **changes):
    kind = registry().load("backbone", name)
    return kind.from_config(kind.example_config() | changes)


# ---- What exports tell ---------------------------------------------------------------------------------------


def test_packages_say_what_engines_have_to_give():
    potential = schnet()
    frozen = FrozenModel.freeze(potential.backbone, Precision.FLOAT64, Capabilities.reference(Form.EDGES), "cpu")
    told = engine.metadata(lower(frozen), potential.reference_energies)
    assert {name.removeprefix(engine.PREFIX): value for name, value in told.items() if "torch" not in name} == {
        "precision": "float64",
        "cutoff": "4.0",
        "hops": "2",
        "species": "Na Cl",
        "numbers": "11 17",
        "references": "-1.25 -3.5",
        "inputs": "species vectors senders receivers pairs pair_of seeds level_1 edge_level_0 pair_level_0",
    }


def test_models_that_read_more_than_one_cutoff_are_refused():
    with pytest.raises(LoweringError, match="does not take all neighbours within one cutoff"):
        engine.require_served(schnet(neighbours="nearest", nearest_count=8).backbone)


def test_models_that_are_told_more_or_tell_forces_are_refused():
    heads = example("mace", heads=["one", "two"], head_scales=[1.0, 1.0], head_energies=[0.0] * 4)
    with pytest.raises(LoweringError, match="has to be told head"):
        engine.require_served(heads)
    forces = schnet()
    forces.backbone.outputs = (Output.ENERGIES, Output.FORCES)
    with pytest.raises(LoweringError, match="tells forces by themselves"):
        engine.require_served(forces.backbone)


def test_a_kind_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="kind='programme' is none of structure, program"):
        AotExporter(kind="programme")
    with pytest.raises(UsageError, match="on CPUs alone"):
        AotExporter(kind="program", device="cuda")


def test_building_says_what_is_missing(tmp_path):
    with pytest.raises(BuildError, match=r"no headers of LAMMPS in .*--lammps"):
        build(tmp_path / "pair.so", lammps=tmp_path)
    (tmp_path / "pair.h").touch()
    with pytest.raises(BuildError, match="does not tell the version of LAMMPS"):
        build(tmp_path / "pair.so", lammps=tmp_path)
    (tmp_path / "version.h").write_text('#define LAMMPS_VERSION "22 Jul 2025"\n')
    with pytest.raises(BuildError, match=r"There is no nowhere.*--compiler"):
        build(tmp_path / "pair.so", lammps=tmp_path, compiler="nowhere")
    assert not (tmp_path / "pair.so").exists()


# ---- In LAMMPS -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What scripts name: the pair style and a model; and the calculator of that."""
    folder = tmp_path_factory.mktemp("lammps")
    build(folder / "pair.so", compiler=lammps_runs.compiler())
    AotExporter(kind="program").export(schnet(), Precision.FLOAT64, folder / "model.pt2")
    return {"plugin": folder / "pair.so", "model": folder / "model.pt2"}


@pytest.fixture
def script(installed):
    """A script of LAMMPS, with changes."""
    usual = {
        "units": "metal",
        "atoms": "atomic",
        "newton": "on",
        "processors": "",
        "before": "",
        "style": "halocline",
        "run": "run 0",
    }
    usual |= {name: str(path) for name, path in installed.items()} | {"elements": "Na Cl"}
    return lambda **changes: SCRIPT.format(**usual | changes)


def skewed():
    """24 atoms in a cell that is skewed and thinner than the model sees, so that ghosts are images of images."""
    atoms = bulk("NaCl", "rocksalt", a=5.64) * (3, 2, 2)
    strain = np.eye(3) + 0.02 * np.random.default_rng(0).normal(size=(3, 3))
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    atoms.wrap()
    return atoms


def slab():
    """Two layers below much vacuum, in which ranks have nothing."""
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (2, 2, 1)
    atoms.cell[2, 2] = 40.0
    atoms.rattle(0.1, seed=2)
    atoms.positions[:, 2] += 1.0
    atoms.wrap()
    return atoms


def expected(atoms, potential=None):
    atoms.calc = (potential or schnet()).calculator(dtype="float64", backend="torch:kernels=off")
    return atoms


def require_same(script, atoms, folder, ranks):
    """See that LAMMPS finds what the calculator of some atoms finds."""
    prism = lammps_runs.write(atoms, folder, ELEMENTS)
    done = lammps_runs.run(script, folder, ranks)
    found = lammps_runs.thermo(done.stdout)
    forces, energies = lammps_runs.dumped(folder, prism)
    assert found["PotEng"][0] == pytest.approx(atoms.get_potential_energy(), abs=SAME)
    np.testing.assert_allclose(energies, atoms.get_potential_energies(), rtol=0, atol=SAME)
    np.testing.assert_allclose(forces, atoms.get_forces(), rtol=0, atol=SAME)
    np.testing.assert_allclose(lammps_runs.stress(found, prism), atoms.get_stress(voigt=False), rtol=0, atol=SAME)


@pytest.mark.slow
@needs_lammps
@pytest.mark.parametrize(
    ("structure", "ranks", "processors"),
    [(skewed, 1, ""), (skewed, 2, ""), (skewed, 4, ""), (slab, 4, "processors 1 1 4")],
)
def test_results_are_those_of_the_calculator(script, tmp_path, structure, ranks, processors):
    require_same(script(processors=processors), expected(structure()), tmp_path, ranks)


#: How many times larger than seeded weights make them the three-body updates of M3GNet are here, and how much of
#: energies (eV) and forces (eV/Å) is theirs at least: ten thousand times what may differ.
THREE_BODY, SEEN = 100.0, 1e4 * SAME

#: What differs from the examples of backbones; those with layers have two.
SERVED = {
    "lennard-jones": {"cutoff": 4.0, "epsilon": [0.01, 0.02], "sigma": [2.4, 2.6]},
    "mace": {"cutoff": 3.5},
    "m3gnet": {"cutoff": 4.0, "threebody_cutoff": 3.9},  # the six nearest ions at least, in fifteen pairs
    "nequip": {"cutoff": 3.5},
    "tensornet": {"cutoff": 3.5},
}


def served(name, three_body=THREE_BODY):
    """A model of seeded weights."""
    config = registry().load("backbone", name).example_config() | {"species": ELEMENTS} | SERVED[name]
    backbone = build_backbone(name, config)
    for each in backbone.modules():
        if isinstance(each, ThreeBody):
            with torch.no_grad():
                for weights in each.update.parameters():
                    weights.mul_(three_body)
    return Potential(backbone, REFERENCES, {"name": name})


def test_triplets_of_m3gnet_are_seen():
    whole, without = (expected(skewed(), served("m3gnet", scale)) for scale in (THREE_BODY, 0.0))
    assert abs(whole.get_potential_energy() - without.get_potential_energy()) > SEEN
    assert np.abs(whole.get_forces() - without.get_forces()).max() > SEEN


@pytest.fixture(scope="module", params=SERVED)
def exported(installed, request):
    """A model that is served, and its file."""
    potential = served(request.param)
    path = installed["plugin"].with_name(f"{request.param}.pt2")
    AotExporter(kind="program").export(potential, Precision.FLOAT64, path)
    return potential, path


@pytest.mark.slow
@pytest.mark.exhaustive  # minutes for each program
@pytest.mark.timeout(1800)
@needs_lammps
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_every_served_backbone_gives_the_results_of_the_calculator(script, exported, tmp_path, ranks):
    potential, path = exported
    require_same(script(model=path), expected(skewed(), potential), tmp_path, ranks)


#: eV per atom, within which the energy stays over 200 steps of 0.5 fs; the integrator makes half of it of these
#: forces. 0.2 eV per atom are exchanged: were a hundredth of the forces wrong, it would be a hundred times more.
DRIFT = 2e-5


@pytest.mark.slow
@needs_lammps
def test_energy_is_conserved_and_restarts_go_on(script, tmp_path):
    atoms = skewed() * (2, 2, 2)
    thermalize_momenta(atoms, 300, rng=np.random.default_rng(0))
    lammps_runs.write(atoms, tmp_path, ELEMENTS)
    steps = "timestep 0.0005\nfix move all nve\nthermo 20\nrun 100\nwrite_restart half\nrun 100"
    whole = lammps_runs.thermo(lammps_runs.run(script(run=steps), tmp_path, 2).stdout)
    assert np.ptp(whole["PotEng"]) > 0.05  # it moves
    assert np.ptp(whole["TotEng"]) / len(atoms) < DRIFT
    again = script(run="timestep 0.0005\nfix move all nve\nthermo 20\nrun 100")
    again = again.replace("read_data data", "read_restart half")
    again = again.replace("units metal\natom_style atomic\nnewton on\nboundary p p p", "newton on")
    resumed = lammps_runs.thermo(lammps_runs.run(again, tmp_path, 1).stdout)
    assert resumed["Step"][0] == 100
    # On another number of ranks sums have another order, and trajectories part slowly.
    np.testing.assert_allclose(resumed["TotEng"][-1], whole["TotEng"][-1], rtol=0, atol=1e-6)


@pytest.mark.slow
@needs_lammps
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"newton": "off"}, "needs newton on"),
        ({"units": "real"}, "needs units metal, and these are real"),
        ({"before": "comm_modify cutoff 6.0"}, "comm_modify cutoff 6 is too small"),
        ({"elements": "Na Br"}, "does not know Br, type 2"),
        ({"elements": "Na"}, "an element for each of the 2 types"),
        ({"style": "halocline fast"}, "takes no arguments"),
        ({"model": "data"}, "data cannot be read as a package of PyTorch"),
    ],
)
def test_what_cannot_be_right_is_refused(script, tmp_path, changes, sentence):
    lammps_runs.write(skewed(), tmp_path, ELEMENTS)
    done = lammps_runs.run(script(**changes), tmp_path)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr


@pytest.mark.slow
@needs_lammps
def test_bonded_atoms_have_to_stay_neighbours(script, tmp_path):
    lammps_runs.write(skewed(), tmp_path, ELEMENTS, style="full")
    done = lammps_runs.run(script(atoms="full"), tmp_path)
    assert done.returncode != 0
    assert "needs special_bonds lj/coul 1 1 1" in done.stdout + done.stderr
    done = lammps_runs.run(script(atoms="full", before="special_bonds lj/coul 1 1 1"), tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def argon(installed):
    """What scripts name for the argon that ships."""
    path = installed["plugin"].with_name("argon.pt2")
    AotExporter(kind="program").export(halocline.load("lennard-jones-argon"), Precision.FLOAT64, path)
    return {"model": path, "elements": "Ar"}


@pytest.mark.slow
@needs_lammps
def test_energies_that_are_not_finite_are_refused(script, argon, tmp_path):
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * 2
    atoms.positions[5] = atoms.positions[2]
    lammps_runs.write(atoms, tmp_path, ["Ar"])
    done = lammps_runs.run(script(**argon), tmp_path)
    assert done.returncode != 0
    assert re.search(r"The energy of atom [36] is not finite", done.stdout + done.stderr)


#: K, GPa and fs of the crystal of argon, and how many steps it is looked at after as many again to settle.
BATH, STEP, STEPS = 40, 5, 1500


def volume(rows):
    """The mean of a series of volumes and its standard error, from blocks."""
    blocks = np.mean(np.reshape(rows, (10, -1)), axis=1)
    return blocks.mean(), blocks.std(ddof=1) / np.sqrt(len(blocks))


@pytest.mark.slow
@needs_lammps
def test_its_pressure_gives_the_density_that_ours_gives(script, argon, tmp_path):
    """By the barostat of LAMMPS and by that of Halocline, which have nothing in common."""
    atoms = bulk("Ar", "fcc", a=5.32, cubic=True) * 3
    thermalize_momenta(atoms, 2 * BATH, rng=np.random.default_rng(0))
    lammps_runs.write(atoms, tmp_path, ["Ar"])
    steps = (
        f"undump forces\nthermo_style custom step vol\nthermo 5\ntimestep {STEP / 1000}\n"
        f"fix move all npt temp {BATH} {BATH} 0.2 iso 0 0 0.5\nrun {2 * STEPS}"
    )
    found = lammps_runs.thermo(lammps_runs.run(script(run=steps, **argon), tmp_path).stdout)
    write(tmp_path / "start.extxyz", atoms)
    options = [
        *("--ensemble", "npt", "--temperature", str(BATH), "--timestep", str(STEP)),
        "--barostat-time",
        "500",
    ]
    options += ["--steps", str(2 * STEPS), "--log-interval", "5", "-o", str(tmp_path / "ours")]
    assert main(["md", str(tmp_path / "start.extxyz"), "-m", "lennard-jones-argon", *options]) == 0
    ours = np.genfromtxt(tmp_path / "ours.csv", delimiter=",", names=True)["volume_A3"]
    half = STEPS // 5
    (theirs, error), (mean, own_error) = volume(found["Volume"][-half:]), volume(ours[-half:])
    assert theirs == pytest.approx(mean, abs=4 * np.hypot(error, own_error))
    assert error + own_error < 0.01 * mean


@pytest.mark.slow
@needs_lammps
def test_a_chain_of_jobs_goes_on_where_its_time_ended(installed, tmp_path):
    """As the documentation has it for clusters."""
    work, commands = tmp_path / "work", tmp_path / "commands"
    work.mkdir()
    fake_slurm.install(commands)
    lammps_runs.install(commands)
    (tmp_path / "environment.sh").write_text(f"export LD_LIBRARY_PATH={lammps_runs.libraries()}\n")
    lammps_runs.write(skewed(), work, ELEMENTS)
    job, script = blocks("LAMMPS")
    names = {
        "/shared/halocline/halocline_pair.so": installed["plugin"],
        "model.pt2": installed["model"],
        "start.data": "data",
        "23:50:00 every 10": "00:00:02 every 1",
        "run 1000000": f"run {LONG}",
    }
    (work / "in.salt").write_text(changed(script, names))
    job = changed(job, {"/shared/halocline": tmp_path, "array=1-10%1": "array=1-2%1"})
    for done in fake_slurm.sbatch(job, commands, work, 1):
        assert done.returncode == 0, done.stdout + done.stderr
    first, second = ((work / f"log.{index}").read_text() for index in (1, 2))
    taken = int(re.search(r"Loop time .* for (\d+) steps", first)[1])
    assert 0 < taken < LONG
    assert lammps_runs.thermo(second)["Step"][0] == taken


#: Steps that no job of the chain comes to.
LONG = 100_000


@pytest.mark.slow
@needs_lammps
def test_pairs_that_others_take_away_are_refused_and_those_they_add_are_not(script, installed, tmp_path):
    lammps_runs.write(skewed(), tmp_path, ELEMENTS)
    named = f"halocline {installed['model']}"
    for changes, sentence in (
        (
            {"style": "hybrid halocline zero 5.0", "model": named, "run": "pair_coeff 1 2 zero\nrun 0"},
            "hybrid divides",
        ),
        ({"run": "neigh_modify exclude type 1 2\nrun 0"}, "exclude leaves some out"),
    ):
        done = lammps_runs.run(script(**changes), tmp_path)
        assert done.returncode != 0
        assert sentence in done.stdout + done.stderr
    alone = lammps_runs.thermo(lammps_runs.run(script(), tmp_path).stdout)
    overlay = {"style": "hybrid/overlay halocline zero 5.0", "model": named, "run": "pair_coeff * * zero\nrun 0"}
    added = lammps_runs.thermo(lammps_runs.run(script(**overlay), tmp_path).stdout)
    assert added["PotEng"][0] == pytest.approx(alone["PotEng"][0], abs=SAME)
