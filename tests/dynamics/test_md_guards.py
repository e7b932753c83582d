"""A run that makes no sense any more stops at once, says why, and keeps what it has."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read

from halocline.dynamics import RunFiles, Settings, run_dynamics
from halocline.dynamics.records import read_log
from halocline.dynamics.snapshot import load_snapshot
from halocline.errors import DynamicsError, StructureError

BAD_CALL = 12  # the first call is made before step 0; ASE's cache answers the rest of that step


class Failing(Calculator):
    """No forces at all, until a call at which something is wrong."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, energy=0.0, force=0.0, stress=0.0, error=None):
        super().__init__()
        self.bad = {"energy": energy, "forces": force, "stress": stress}
        self.error = error
        self.calls = 0

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}
        if self.calls < BAD_CALL:
            return
        if self.error:
            raise self.error
        self.results["energy"] += self.bad["energy"]
        self.results["forces"][1, 2] += self.bad["forces"]
        self.results["stress"][0] += self.bad["stress"]


def gas(**options):
    return Atoms("Ar4", positions=[(0, 0, 0), (4, 0, 0), (0, 4, 0), (0, 0, 4)], **options)


def stopped_run(prefix, atoms, calculator, reason, *, settings=None, steps=40):
    """Run into the trouble; check that everything before it was kept."""
    settings = settings or Settings(ensemble="nve", temperature=30.0, timestep=1.0, frame_interval=1)
    output = RunFiles(prefix)
    with pytest.raises(DynamicsError, match=reason) as caught:
        run_dynamics(atoms, calculator, settings, output, steps=steps, checkpoint_interval=4)
    log = read_log(output.log)
    last = int(log["step"][-1])
    assert f"near step {last}" in str(caught.value) or f"near step {last + 1}" in str(caught.value)
    assert all(np.isfinite(log[name]).all() for name in ("potential_eV", "kinetic_eV", "temperature_K"))
    frames = read(output.trajectory, ":")
    assert frames[-1].info["step"] == last
    assert all(np.isfinite(frame.positions).all() for frame in frames)
    assert load_snapshot(output.checkpoint).step == last // 4 * 4
    return last


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ({"energy": np.nan}, "the energy is nan"),
        ({"energy": np.inf}, "the energy is inf"),
        ({"force": np.nan}, "the force of atom 1 is not finite"),
        ({"force": np.inf}, "the force of atom 1 is not finite"),
        ({"error": RuntimeError("out of memory")}, "RuntimeError: out of memory"),
        ({"error": MemoryError()}, "MemoryError"),
        ({"error": StructureError("positions are not finite")}, "StructureError: positions are not finite"),
    ],
)
def test_bad_results_stop_the_run_in_their_step(tmp_path, trouble, reason):
    assert stopped_run(tmp_path / "run", gas(), Failing(**trouble), reason) == BAD_CALL - 2


def test_bad_stress_stops_the_run(tmp_path):
    periodic = gas(cell=[12, 12, 12], pbc=True)
    assert stopped_run(tmp_path / "run", periodic, Failing(stress=np.nan), "the pressure is nan") == BAD_CALL - 2


@pytest.mark.parametrize("name", ["nve", "langevin", "bussi", "npt"])
def test_overlap_at_a_large_timestep_explodes_and_stops(argon, tmp_path, name):
    atoms = argon.crystal()
    atoms.positions[1] = atoms.positions[0] + (1.2, 0.0, 0.0)
    settings = argon.settings(name, timestep=20.0, frame_interval=1)
    output = RunFiles(tmp_path / "run")
    with pytest.raises(DynamicsError, match=r"moved .* Å in one step|ran away|not finite"):
        run_dynamics(atoms, argon.Argon(), settings, output, steps=50)
    assert len(read(output.trajectory, ":")) >= 1


def test_slow_heating_is_stopped(tmp_path):
    """A constant push on one atom: neither overlap nor NaN, only more and more energy."""
    atoms = gas(cell=[40, 40, 40], pbc=True)
    settings = Settings(ensemble="nve", temperature=30.0, timestep=0.1, frame_interval=1)
    stopped_run(tmp_path / "run", atoms, Failing(force=200.0), "ran away", settings=settings, steps=400)


def test_atom_that_leaves_a_cluster_is_noticed(tmp_path):
    atoms = gas()
    atoms.set_velocities([(0, 0, 0), (3e-2, 0, 0), (0, 0, 0), (0, 0, 0)])
    settings = Settings(ensemble="nve", temperature=30.0, timestep=10.0, frame_interval=1)
    stopped_run(tmp_path / "run", atoms, Failing(), "atom 1 has flown apart", settings=settings, steps=400)


def test_dilute_gas_may_stay_dilute(tmp_path):
    atoms = Atoms("Ar2", positions=[(0, 0, 0), (30, 0, 0)])
    settings = Settings(ensemble="nve", temperature=30.0, timestep=1.0)
    assert run_dynamics(atoms, Failing(), settings, RunFiles(tmp_path / "run"), steps=5).finished


def test_structure_that_cannot_be_evaluated_leaves_no_file(tmp_path):
    calculator = Failing(error=StructureError("unknown element"))
    calculator.calls = BAD_CALL
    with pytest.raises(StructureError, match="unknown element"):
        run_dynamics(gas(), calculator, Settings(ensemble="nve"), RunFiles(tmp_path / "run"), steps=5)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
