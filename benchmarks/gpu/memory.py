"""Whether the memory model tells what the network really takes on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from matrix.axes import potential

from gpu.report import Record
from halocline.bench.structures import disordered_box
from halocline.graph import NeighbourList, Structure
from halocline.memory.live_bytes import peak_bytes
from halocline.memory.memory_model import MARGIN, MemoryModel
from halocline.partition import whole
from halocline.plugin import registry
from halocline.program import FrozenModel, Precision, energies_and_gradients
from halocline.program.layout import lay_out

#: Atoms/Å³ of the boxes: liquid water.
DENSITY = 0.1


def memory(device: str, quick: bool) -> Iterator[Record]:
    """Bytes that are predicted from small chains beside those at the peak of an evaluation."""
    capabilities = registry().load("executor", "torch").capabilities
    for name in ("schnet", "m3gnet"):
        backbone = potential(name).backbone
        for dtype in Precision:
            model = MemoryModel.measure(backbone, dtype, capabilities.form)
            frozen = FrozenModel.freeze(backbone, dtype, capabilities)
            frozen.backbone.to(device)
            for atoms in (100,) if quick else (1_000, 10_000, 50_000):
                box = Structure.from_atoms(disordered_box(backbone.species, atoms, DENSITY))
                graph = NeighbourList(backbone.neighbours).graph(box)
                part = whole(atoms, graph.edges, backbone.hops)
                inputs = lay_out(graph, part, capabilities.form, dtype, device)
                taken = _peak(lambda f=frozen, i=inputs: energies_and_gradients(f.backbone, i), device)
                share = taken / (MARGIN * model.network(part))
                yield {
                    "model": name,
                    "dtype": dtype.value,
                    "atoms": len(np.unique(part.atoms)),
                    "bytes_per_atom": taken / atoms,
                    "of_predicted": share,
                    "ok": share <= 1.0,
                }


def _peak(work: Callable[[], object], device: str) -> int:
    """Bytes that the device's allocator has given out at the peak; on the CPU those of all tensors."""
    if torch.device(device).type != "cuda":
        return peak_bytes(work)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
