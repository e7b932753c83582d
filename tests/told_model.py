"""A small model that is told charge, temperature and head, and says more than energies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from ase.data import atomic_numbers
from torch import nn

from halocline.graph import Radius
from halocline.model import Backbone, Condition, Output, PooledHead, Stage, StageSpec, State
from halocline.model.build import build_with_seed
from halocline.potential.potential import Potential

HEADS = ("PBE", "r2SCAN", "wB97M")
CONDITIONS = {
    "charge": Condition(
        name="charge", kind="integer", least=-2, most=2, default=0, keys=("charge", "total_charge")
    ),
    "temperature": Condition(name="temperature", kind="real", least=0.0, default=1.0, keys=("electrons",)),
    "head": Condition(name="head", kind="choice", choices=HEADS),
}
CHANNELS, POOLED = 8, 4


class Embed(Stage):
    """Species and everything that the model is told; the head is handed on."""

    spec = StageSpec(hops=0)

    def __init__(self, told):
        super().__init__()
        self.told = told
        self.species = nn.Embedding(119, CHANNELS, dtype=torch.float64)
        self.charge = nn.Embedding(5, CHANNELS, dtype=torch.float64)
        self.warmth = nn.Linear(1, CHANNELS, dtype=torch.float64)

    def forward(self, state, *blocks):
        features = self.species(state.atoms["species"])
        if "charge" in self.told:
            features = features + self.charge(state.atoms["charge"] + 2)
        if "temperature" in self.told:
            features = features + self.warmth(state.atoms["temperature"][:, None]).tanh()
        head = {"head": state.atoms["head"]} if "head" in self.told else {}
        return State({"features": features, **head}, {})


class Layer(Stage):
    """Messages from neighbours."""

    def __init__(self, cutoff):
        super().__init__()
        self.spec = StageSpec(hops=1, neighbours=Radius(cutoff))
        self.cutoff = cutoff
        self.filter = nn.Linear(2, CHANNELS, dtype=torch.float64)
        self.update = nn.Linear(CHANNELS, CHANNELS, dtype=torch.float64)

    def forward(self, state, *blocks):
        (block,) = blocks
        lengths = block.lengths()[..., None]
        window = (1.0 - (lengths / self.cutoff) ** 2) ** 3
        weights = self.filter(torch.cat([lengths, 1.0 / lengths], -1)).tanh() * window
        messages = block.sum(block.at_senders(state.atoms["features"]) * weights)
        own = {name: values[: block.n_out] for name, values in state.atoms.items()}
        return State({**own, "features": own["features"] + self.update(messages).tanh()}, {})


class Readout(Stage):
    """Energies of the head that was asked for, and whatever else the model says of an atom."""

    spec = StageSpec(hops=0)

    def __init__(self, told, outputs):
        super().__init__()
        self.told, self.outputs = told, outputs
        self.energies = nn.Linear(CHANNELS, len(HEADS), dtype=torch.float64)
        self.others = nn.ModuleDict({name: nn.Linear(CHANNELS, 9, dtype=torch.float64) for name in outputs[1:]})
        self.register_buffer("one", torch.eye(len(HEADS), dtype=torch.float64), persistent=False)

    def forward(self, state, *blocks):
        features, found = state.atoms["features"], {}
        energies = self.energies(features.tanh())
        if "head" in self.told:
            found["energies"] = (energies * self.one[state.atoms["head"]]).sum(1)
        else:
            found["energies"] = energies[:, 0]
        for name, layer in self.others.items():
            values = layer(features)
            found[name] = {
                "forces": values[:, :3],
                "virials": (values.view(-1, 3, 3) + values.view(-1, 3, 3).transpose(1, 2)),
                "pooled": values[:, :POOLED].tanh(),
            }.get(name, values[:, 0])
        return State(found, {})


class MeanEnergy(PooledHead):
    """A network on the mean of vectors, times the number of atoms."""

    channels = POOLED

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(POOLED, 5, dtype=torch.float64)
        self.last = nn.Linear(5, 1, dtype=torch.float64)

    def forward(self, sums, atoms):
        mean = sums / atoms[:, None]
        return atoms * self.last((3.0 * self.hidden(mean)).tanh())[:, 0]


class Told(Backbone):
    """Two layers with a readout each.

    Its config: ``told``, names of `CONDITIONS`; ``says``, outputs beside energies.
    """

    name = "told"

    def __init__(self, config):
        super().__init__()
        self.config, self.species = dict(config), tuple(config["species"])
        assert all(symbol in atomic_numbers for symbol in self.species)
        told = tuple(config["told"])
        self.conditions = tuple(CONDITIONS[name] for name in told)
        self.outputs = (Output.ENERGIES, *map(Output, config["says"]))
        self.mean_energy = MeanEnergy() if Output.POOLED in self.outputs else None
        self.embed = Embed(told)
        self.layers = nn.ModuleList([Layer(config["cutoff"]) for _ in range(config["layers"])])
        self.reads = nn.ModuleList([Readout(told, self.outputs) for _ in range(config["layers"])])

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(config)

    @classmethod
    def example_config(cls):
        return {"species": ["H", "O"], "cutoff": 3.0, "layers": 2, "told": list(CONDITIONS), "says": []}

    @property
    def readouts(self):
        return {depth + 1: stage for depth, stage in enumerate(self.reads)}

    @property
    def pooled_head(self):
        return self.mean_energy

    def pruned_config(self, layers):
        return {**self.config, "layers": layers}

    def pruned_weights(self, layers):
        dropped = tuple(f"{kind}.{i}." for kind in ("layers", "reads") for i in range(layers, len(self.layers)))
        return {name: t for name, t in self.state_dict().items() if not name.startswith(dropped)}


def told(seed=0, **config) -> Potential:
    """The model as a potential."""
    backbone = build_with_seed(Told, Told.example_config() | config, seed)
    return Potential(backbone, {"H": -13.6, "O": -430.0}, {"name": "told"})
