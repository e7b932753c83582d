"""A potential as a model of torch-sim: its contract, the calculator's numbers, relaxation and dynamics of many."""

import re
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

import halocline
from halocline.errors import UsageError
from halocline.model.build import build_backbone
from halocline.potential.potential import Potential

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # torch-sim scripts functions when it is imported
    torch_sim = pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    from torch_sim.models.interface import validate_model_outputs

from halocline.engines.torch_sim import DTYPE, HaloclineModel, movers

DOCS = Path(__file__).parents[1] / "docs/torch-sim.md"

CPU = torch.device("cpu")

#: Of eV, eV/Å and eV/Å³: the same evaluation in float64, structures side by side or alone.
SAME = 1e-12


def schnet(**changes):
    config = {"species": ["Si", "Fe", "Mg", "H", "O", "C"], "features": 16, "layers": 2, "cutoff": 4.0} | changes
    references = dict.fromkeys(config["species"], -2.0)
    return Potential(build_backbone("schnet", config), references, {"name": "schnet"})


def crystals():
    """Cells of different sizes, skewed, so that rows and columns of them differ."""
    found = [bulk("Si", "diamond", a=5.43), bulk("Fe", "fcc", a=3.6), bulk("Fe", "bcc", a=2.87, cubic=True)]
    for number, atoms in enumerate(found):
        atoms.rattle(0.05, seed=number)
        atoms.set_cell(atoms.cell.array + 0.1 * np.arange(9).reshape(3, 3), scale_atoms=True)
    return found


def state_of(structures):
    return torch_sim.io.atoms_to_state(structures, CPU, DTYPE)


def test_the_contract_of_torch_sim_is_kept():
    """In torch-sim 0.6 a molecule comes last, which has no stress."""
    validate_model_outputs(HaloclineModel(schnet(), stress=False), CPU, DTYPE)
    molecule_refused = nullcontext() if movers.HAS_FACTORIES else pytest.raises(UsageError, match="stress=False")
    with molecule_refused:
        validate_model_outputs(HaloclineModel(schnet()), CPU, DTYPE)


@pytest.mark.parametrize("as_table", [False, True])
def test_results_are_those_of_the_calculator(as_table):
    potential, structures = schnet(), crystals()
    state = state_of(structures)
    attributes = ("positions", "masses", "cell", "pbc", "atomic_numbers", "system_idx")
    given = {name: getattr(state, name) for name in attributes} if as_table else state
    found = HaloclineModel(potential, dtype="float64")(given)
    expected = [potential(atoms, dtype="float64") for atoms in structures]
    np.testing.assert_allclose(found["energy"], [each.energy for each in expected], rtol=0, atol=SAME)
    np.testing.assert_allclose(found["forces"], np.concatenate([e.forces for e in expected]), rtol=0, atol=SAME)
    np.testing.assert_allclose(found["stress"], [each.stress for each in expected], rtol=0, atol=SAME)


def test_memory_follows_the_rule_of_neighbours():
    assert HaloclineModel(schnet()).memory_scales_with == "n_atoms_x_density"
    ranked = schnet(neighbours="nearest", nearest_count=4)
    assert HaloclineModel(ranked).memory_scales_with == "n_atoms"


def test_stress_of_what_has_no_volume_is_refused():
    state = state_of([molecule("H2O")])
    state.pbc = torch.zeros_like(state.pbc) if isinstance(state.pbc, torch.Tensor) else False
    with pytest.raises(UsageError, match="stress=False"):
        HaloclineModel(schnet())(state)
    assert set(HaloclineModel(schnet(), stress=False)(state)) == {"energy", "forces"}


def argon(count, a=5.3):
    structures = [bulk("Ar", "fcc", a=a, cubic=True) for _ in range(count)]
    for number, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=number)
    return structures


#: As `optimize` takes it.
FIRE_OF_CELLS = (
    {"optimizer": torch_sim.frechet_cell_fire}
    if movers.HAS_FACTORIES
    else {"optimizer": torch_sim.Optimizer.fire, "init_kwargs": {"cell_filter": torch_sim.CellFilter.frechet}}
)


def test_many_structures_are_relaxed_at_once_with_their_cells():
    model = HaloclineModel(halocline.load("lennard-jones-argon"), dtype="float64")
    pressed = state_of(argon(3, a=5.0))
    assert model(pressed)["stress"].diagonal(dim1=1, dim2=2).max() < -1e-3  # they push outwards
    relaxed = torch_sim.optimize(
        pressed,
        model,
        **FIRE_OF_CELLS,
        convergence_fn=torch_sim.generate_force_convergence_fn(force_tol=1e-3),
        max_steps=500,
    )
    found = model(relaxed)
    assert found["forces"].abs().max() < 1e-3
    assert found["stress"].abs().max() < 5e-5  # eV/Å³; cells would collapse or fly apart if it had another sign
    np.testing.assert_allclose(found["energy"], found["energy"][:1].expand(3), rtol=0, atol=1e-4)


#: eV per atom, within which energies stay over 60 steps of 4 fs at 20 K, where 2 meV per atom are exchanged.
DRIFT = 1e-5


def test_energies_of_all_structures_are_conserved():
    model = HaloclineModel(halocline.load("lennard-jones-argon"), dtype="float64", stress=False)
    units = torch_sim.units.MetalUnits
    start, step = movers.verlet(
        model, dt=torch.tensor(0.004 * units.time), kT=torch.tensor(20.0 * units.temperature)
    )
    state = start(state_of(argon(2)))
    totals, potentials = [], []
    for _ in range(60):
        state = step(state)
        kinetic = torch_sim.calc_kinetic_energy(
            masses=state.masses, momenta=state.momenta, system_idx=state.system_idx
        )
        totals.append(state.energy + kinetic)
        potentials.append(state.energy)
    assert np.ptp(np.stack(potentials), axis=0).min() / 4 > 1e-3
    assert np.ptp(np.stack(totals), axis=0).max() / 4 < DRIFT


def test_the_page_runs_as_written(capsys):
    first = re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[0]
    exec(first, {})
    assert capsys.readouterr().out.count("dtype=torch.float64") == 9
