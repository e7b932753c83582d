"""What opens and closes blocks: edges see atoms, and atoms tell what energies are read from.

Shapes: N atoms read, n atoms written, A features of atoms, E of edges, [...] edges in either form.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from halocline.aggregation import Block
from halocline.plugins.backbones.jmp.bases import Radial
from halocline.plugins.backbones.jmp.config import JMPConfig
from halocline.plugins.backbones.jmp.dense import Residuals, Scale, active, joined, linear


@final
class Ends(nn.Module):
    """What a dense layer makes of both ends of an edge, computed once for each atom and gathered."""

    def __init__(self, config: JMPConfig, third: int) -> None:
        super().__init__()
        inputs = 2 * config.atom + third
        share = config.atom / inputs
        self.source = linear(config.atom, config.edge, share=share)
        self.target = linear(config.atom, config.edge, share=share)

    def forward(self, block: Block, h_NA: Tensor) -> Tensor:
        """Atoms (N, A) → [..., E]."""
        return block.at_senders(self.source(h_NA)) + block.at_receivers(self.target(h_NA))


@final
class FromEdges(nn.Module):
    """What edges tell the atoms where they end, by functions of their lengths.

    Args:
        config: of the model.
        layers: residual ones.
    """

    def __init__(self, config: JMPConfig, layers: int) -> None:
        super().__init__()
        self.weight, self.scale = linear(config.radial, config.edge), Scale()
        self.layers = Residuals(config.edge, config.atom, layers)

    def forward(self, main: Block, m_E: Tensor, functions: Tensor) -> Tensor:
        """Edges [..., E] by functions [..., B] of their lengths → (n, A)."""
        sums = main.sum(m_E * self.weight(functions))
        result: Tensor = self.layers(self.scale(sums))
        return result


@final
class Output(nn.Module):
    """What one state of atoms and edges adds to the features that energies are read from."""

    def __init__(self, config: JMPConfig) -> None:
        super().__init__()
        self.from_edges = FromEdges(config, config.update_layers)
        self.layers = Residuals(config.atom, config.atom, config.output_layers)
        self.mixes = config.output_layers > 0
        self.share = linear(config.atom, config.atom, share=1.0 / (config.layers + 1))

    def forward(self, main: Block, h_nA: Tensor, m_E: Tensor, functions: Tensor) -> Tensor:
        """Atoms (n, A) and edges [..., E] by functions [..., B] of their lengths → (n, A)."""
        x = self.from_edges(main, m_E, functions)
        x = self.layers(joined(x, h_nA)) if self.mixes else x
        result: Tensor = self.share(x)
        return result


@final
class Start(nn.Module):
    """The first features of edges, of both elements and of the distance, and what is read from them."""

    def __init__(self, config: JMPConfig) -> None:
        super().__init__()
        self.ends = Ends(config, config.gaussians)
        self.distance = Radial(config, config.edge, share=config.gaussians / (2 * config.atom + config.gaussians))
        self.output = Output(config)

    def forward(self, main: Block, h_NA: Tensor, functions: Tensor) -> tuple[Tensor, Tensor]:
        """Atoms (N, A) and functions [..., B] → edges [..., E], and (n, A) to read energies from."""
        m_E = active(self.ends(main, h_NA) + main.radial(self.distance))
        return m_E, self.output(main, main.targets(h_NA), m_E, functions)


@final
class Close(nn.Module):
    """The end of a block: edges see what has become of the atoms at both ends, and energies are read again."""

    def __init__(self, config: JMPConfig) -> None:
        super().__init__()
        self.ends = Ends(config, config.edge)
        self.edge = linear(config.edge, config.edge, share=config.edge / (2 * config.atom + config.edge))
        self.layers = Residuals(config.edge, config.edge, config.concat_layers)
        self.output = Output(config)

    def forward(self, main: Block, h_NA: Tensor, m_E: Tensor, functions: Tensor) -> tuple[Tensor, Tensor]:
        """Atoms (N, A), edges [..., E] and functions [..., B] → edges [..., E], and (n, A) that are read."""
        m_E = joined(m_E, self.layers(active(self.ends(main, h_NA) + self.edge(m_E))))
        return m_E, self.output(main, main.targets(h_NA), m_E, functions)


@final
class Head(nn.Module):
    """A perceptron, whose last layer has no offset: energies of isolated atoms are given beside it."""

    def __init__(self, features: int, layers: int) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(features, features, dtype=torch.float64) for _ in range(layers))
        self.out = nn.Linear(features, 1, bias=False, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        """(n, A) → (n,)."""
        for layer in self.hidden:
            x = active(layer(x))
        result: Tensor = self.out(x).squeeze(-1)
        return result
