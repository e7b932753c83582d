"""Small models written by Nequix, and what it says of a few structures; README.md says how to run this."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import primitive_neighbor_list
from nequix.model import Nequix, load_model, save_model
from nequix.torch_impl.utils import convert_model_jax_to_torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from oracles.nequix.models import MODELS, PUBLISHED, REFERENCES, structures  # noqa: E402

#: Settings that its constructor does not take.
_OF_TRAINING = ("atomic_numbers", "learning_rate")


def write(config, path):
    """A model with weights from a seed."""
    sizes = {name: value for name, value in config.items() if name not in _OF_TRAINING}
    energies = np.linspace(-3.0, -1.0, len(config["atomic_numbers"]))
    model = Nequix(jax.random.key(1), len(energies), atom_energies=energies, **sizes)
    norms = [layer.layer_norm for layer in model.layers if layer.layer_norm is not None]
    for norm in norms:  # ones before any fit, by which nothing could be told
        for place, vector in enumerate(norm.affine_weight):
            norm.affine_weight[place] = vector + jnp.linspace(-0.4, 0.5, len(vector))
    save_model(path, model, config)


def load(path):
    """A model in float64, and the place of each atomic number."""
    jax.config.update("jax_enable_x64", False)
    model, config = load_model(path)
    jax.config.update("jax_enable_x64", True)
    double = jax.tree.map(lambda x: jnp.asarray(np.asarray(x), np.float64) if eqx.is_array(x) else x, model)
    return double, config["cutoff"], {number: n for n, number in enumerate(sorted(config["atomic_numbers"]))}


def evaluate(path, atoms):
    """Energies of atoms, forces and stress in float64."""
    model, cutoff, places = load(path)
    i, j, shifts = primitive_neighbor_list("ijS", atoms.pbc, atoms.cell, atoms.positions, cutoff)
    species, cell = jnp.array([places[number] for number in atoms.numbers]), jnp.array(atoms.cell.array)

    def energies(positions, strain):
        symmetric = jnp.eye(3) + 0.5 * (strain + strain.T)
        moved = positions @ symmetric
        edges = moved[j] - moved[i] + shifts @ (cell @ symmetric)
        of_atoms = model.node_energies(edges, species, jnp.array(j), jnp.array(i))[:, 0]
        return of_atoms.sum(), of_atoms

    both = eqx.filter_jit(jax.grad(energies, argnums=(0, 1), has_aux=True))
    (gradient, virial), found = both(jnp.array(atoms.positions), jnp.zeros((3, 3)))
    return {
        "energies": found.tolist(),
        "forces": (-gradient).tolist(),
        "stress": (virial / atoms.get_volume()).tolist(),
    }


def load_in_torch(path):
    """A published model in torch and float64, which compiles nothing."""
    torch.set_default_dtype(torch.float32)
    jax.config.update("jax_enable_x64", False)
    model, config = load_model(path)
    converted, _ = convert_model_jax_to_torch(model, config, use_kernel=False)
    torch.set_default_dtype(torch.float64)
    converted = converted.double().eval()
    # Upstream takes these from the settings, which have more digits than the weights.
    converted.atom_energies.copy_(torch.tensor(np.array(model.atom_energies)))
    return converted, config["cutoff"], {number: n for n, number in enumerate(sorted(config["atomic_numbers"]))}


def evaluate_in_torch(loaded, atoms):
    """Energies of atoms, forces and stress in float64, of what `load_in_torch` gives."""
    model, cutoff, places = loaded
    i, j, shifts = map(
        torch.from_numpy, primitive_neighbor_list("ijS", atoms.pbc, atoms.cell, atoms.positions, cutoff)
    )
    species = torch.tensor([places[number] for number in atoms.numbers])
    positions = torch.tensor(atoms.positions, requires_grad=True)
    strain = torch.zeros(3, 3, requires_grad=True)
    symmetric = torch.eye(3) + 0.5 * (strain + strain.T)
    moved = positions @ symmetric
    edges = moved[j] - moved[i] + shifts.double() @ (torch.tensor(atoms.cell.array) @ symmetric)
    energies = model.node_energies(edges, species, j, i)[:, 0]
    gradient, virial = torch.autograd.grad(energies.sum(), (positions, strain), materialize_grads=True)
    return {
        "energies": energies.tolist(),
        "forces": (-gradient).tolist(),
        "stress": (virial / atoms.get_volume()).tolist(),
    }


def of_the_index():
    """Structures for which the zoo has energies."""
    index = tomllib.loads((HERE.parents[2] / "zoo" / "index.toml").read_text(encoding="utf-8"))
    for name in REFERENCES:
        known = index["structures"][name]
        yield name, Atoms(known["symbols"], known["positions"], cell=known["cell"], pbc=True)


def of_small_models():
    """Write the files; what upstream says of them."""
    (HERE / "files").mkdir(exist_ok=True)
    for name, config in MODELS.items():
        path = HERE / "files" / f"{name}.nqx"
        jax.config.update("jax_enable_x64", False)
        write(config, path)
        for case, atoms in structures().items():
            yield f"{name} {case}", evaluate(path, atoms)


def of_published_models(folder):
    """What upstream says of them."""
    for name in PUBLISHED:
        loaded = load_in_torch(folder / f"{name}.nqx")
        for case, atoms in of_the_index():
            yield f"{name} {case}", evaluate_in_torch(loaded, atoms)


def main():
    """Write files and answers."""
    answers = dict(of_small_models()) | dict(of_published_models(Path(sys.argv[1])))
    (HERE / "answers.json").write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
