"""ORB's three kinds of stage.

Shapes: N atoms read, M in between, n atoms written, C features, [...] edges in either form.
"""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.model import Stage, StageSpec, State, Work
from halocline.plugins.backbones.orb.config import ROWS, ORBConfig
from halocline.plugins.backbones.orb.edges import directions_of, edge_functions, envelope
from halocline.plugins.backbones.orb.perceptron import Perceptron, Update
from halocline.plugins.backbones.orb.repulsion import Repulsion

#: What layers hand on as they find it, where it is there: (N, ...) by name.
_HANDED_ON = ("condition", "repulsion", "repulsion_forces", "repulsion_virials")


@final
class Embedding(Stage):
    """One learned vector for each chemical element, and one for charge and spin."""

    spec = StageSpec(hops=0)

    def __init__(self, config: ORBConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(ROWS, config.features, dtype=torch.float64)
        self.update = Update(config.features, config.hidden, config.features, config.version)
        self.charged = config.charged
        if config.charged:
            waves = config.features // 4
            self.charge_waves = nn.Parameter(torch.randn(waves, dtype=torch.float64))
            self.spin_waves = nn.Parameter(torch.randn(waves, dtype=torch.float64))

    def forward(self, state: State, *blocks: Block) -> State:
        """``species``, ``charge`` and ``spin`` (N,) → ``features`` and ``condition`` (N, C), and ``species``."""
        del blocks
        species = state.atoms["species"]
        atoms = {"features": self.update(self.table(species)), "species": species}
        if self.charged:
            charge, spin = (state.atoms[name].to(self.charge_waves.dtype) for name in ("charge", "spin"))
            # A multiplicity of zero says that none is stated.
            stated = (spin != 0.0).to(spin.dtype)[:, None]
            told = [_waves(charge, self.charge_waves), _waves(spin, self.spin_waves) * stated]
            atoms["condition"] = torch.cat(told, dim=-1)
        return State(atoms, {})


@final
class Layer(Stage):
    """Each edge is updated from its ends, and each atom from the edges that it sends and receives.

    Args:
        config: of the model.
        first: whether it makes the first features of edges, and what nuclei repel each other with.
        last: whether all that it writes is complete. Sums at senders need edges that end one hop farther out than
            features have to be known, so the outermost atoms that other layers write have part of a sum. The next
            layer uses those only in what it gives such atoms in turn.
    """

    profiled_as: ClassVar = {
        "forward": Work.UPDATE,
        "functions": Work.RADIAL,
        "repulsion": Work.RADIAL,
        "encoder": Work.MESSAGES,
        "edge_update": Work.MESSAGES,
    }

    def __init__(self, config: ORBConfig, *, first: bool, last: bool) -> None:
        super().__init__()
        self.spec = StageSpec(hops=1 + last, incomplete=int(not last), edgeless=int(last), neighbours=config.rule)
        channels, hidden, version = config.features, config.hidden, config.version
        self.cutoff, self.first, self.directs = config.cutoff, first, not config.is_conservative
        if first:
            self.functions = edge_functions(config)
            self.encoder = Update(config.edge_inputs, hidden, channels, version)
        self.repulsion = Repulsion() if first and config.repulsion else None
        self.told = nn.Linear(channels, channels, dtype=torch.float64) if config.charged else None
        self.edge_update = Update(3 * channels, hidden, channels, version)
        self.atom_update = Update(3 * channels, hidden, channels, version)
        self.receive = nn.Linear(channels, 1, dtype=torch.float64)
        self.send = nn.Linear(channels, 1, dtype=torch.float64)

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (N, C) → (n, C), and of edges [..., C]."""
        outer, inner = blocks[0], blocks[-1]
        lengths = outer.lengths()
        x_NC = state.atoms["features"]
        if self.told is not None:
            x_NC = x_NC + self.told(state.atoms["condition"])
        if self.first:
            e_C = self.encoder(self.functions(lengths, directions_of(outer, lengths)))
        else:
            e_C = outer.own(state.edges["features"])
        fall = envelope(lengths, self.cutoff)[..., None]
        received = torch.sigmoid(self.receive(e_C)) * fall
        sent = torch.sigmoid(self.send(e_C)) * fall
        m_C = self.edge_update(torch.cat([e_C, outer.at_senders(x_NC), outer.at_receivers(x_NC)], dim=-1))
        r_nC = inner.targets(outer.sum(m_C * received))
        s_nC = inner.targets(outer.sum_at_senders(m_C * sent))
        x_nC = inner.targets(x_NC)
        atoms = {"features": x_nC + self.atom_update(torch.cat([x_nC, r_nC, s_nC], dim=-1))}
        found = dict(state.atoms)
        if self.repulsion is not None:
            found |= self._repelled(outer, state.atoms["species"], lengths)
        atoms |= {name: inner.targets(found[name]) for name in _HANDED_ON if name in found}
        return State(atoms, {"features": e_C + m_C})

    def _repelled(self, block: Block, species: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Energies (M,) of receivers in eV; with direct forces, those (N, 3), and virials (M, 3, 3), as well."""
        assert self.repulsion is not None
        energies, slopes = self.repulsion(block, species, lengths)
        found = {"repulsion": block.sum(energies)}
        if self.directs:
            pulls = directions_of(block, lengths) * slopes[..., None]  # derivatives by the receiver's position
            at_senders = block.sum_at_senders(pulls)
            found["repulsion_forces"] = block.targets(at_senders) - block.sum(pulls)
            found["repulsion_virials"] = block.sum(-block.vectors[..., :, None] * pulls[..., None, :])
        return found


@final
class Readout(Stage):
    """What an atom adds: features to their mean, or an energy; a force, if forces are direct.

    Attributes:
        force_scale: (), eV/Å, of the unit that direct forces were fitted in.
    """

    spec = StageSpec(hops=0)
    force_scale: Tensor

    def __init__(self, config: ORBConfig) -> None:
        super().__init__()
        sizes = (config.features, config.head_hidden)
        self.conservative, self.of_mean = config.is_conservative, config.energy == "mean"
        self.repulsion, self.stress = config.repulsion, config.stress
        if not self.of_mean:
            self.energy = Perceptron((*sizes, 1), config.version)
            self.register_buffer("scale", torch.ones((), dtype=torch.float64))
            self.register_buffer("shift", torch.zeros((), dtype=torch.float64))
        if not self.conservative:
            self.force = Perceptron((*sizes, 3), config.version)
            self.register_buffer("force_scale", torch.ones((), dtype=torch.float64))

    scale: Tensor
    shift: Tensor

    def forward(self, state: State, *blocks: Block) -> State:
        """``features`` (n, C), and of the repulsion ``repulsion`` (n,) → what the model declares; see `ORB`."""
        del blocks
        atoms, x = {}, state.atoms["features"]
        if not self.of_mean:
            atoms["energies"] = self.energy(x).squeeze(-1) * self.scale + self.shift
        elif self.repulsion and self.conservative:
            atoms["pooled"] = torch.cat([x, state.atoms["repulsion"][:, None]], dim=-1)
        else:
            atoms["pooled"] = x
        if self.repulsion and not (self.of_mean and self.conservative):
            energies = state.atoms["repulsion"]
            atoms["energies"] = atoms["energies"] + energies if "energies" in atoms else energies
        if not self.conservative:
            atoms["forces"] = self.force(x) * self.force_scale
            if self.repulsion:
                atoms["forces"] = atoms["forces"] + state.atoms["repulsion_forces"]
                if self.stress:
                    atoms["virials"] = state.atoms["repulsion_virials"]
        return State(atoms, {})


def _waves(values: Tensor, frequencies: Tensor) -> Tensor:
    """Sine and cosine of 2π f v, for values (N,) and frequencies (F,): (N, 2F)."""
    turns = (2.0 * math.pi) * values[:, None] * frequencies
    return torch.cat([torch.sin(turns), torch.cos(turns)], dim=-1)
