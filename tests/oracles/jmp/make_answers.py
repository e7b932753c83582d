"""Makes answers.json; see README.md. Runs in an environment of its own, over a copy of JMP-MT."""

from __future__ import annotations

import itertools
import json
import logging
import math
import sys
import types
from pathlib import Path

import numpy as np
import torch
from seeded import COMMON, CUTOFF, HEAD_LAYERS, LISTS, SHIFTS, SIZES, SMALL, head_layout, structures, tensors
from torch import nn

nn.init.orthogonal_ = nn.init.normal_  # which takes minutes, and whose weights are replaced
np.math = math  # which upstream calls by the name that old versions of NumPy had
logging.disable(logging.CRITICAL)


def module(name, **attributes):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(attributes)


def scatter(src, index, dim=0, dim_size=None, reduce="sum"):
    assert dim == 0
    assert reduce in ("sum", "add")
    size = dim_size if dim_size is not None else int(index.max()) + 1
    return src.new_zeros((size, *src.shape[1:])).index_add(0, index, src)


def segment_coo(src, index, dim_size=None, reduce="sum"):
    return scatter(src.contiguous(), index, dim_size=dim_size)


class _Storage:
    def __init__(self, sparse):
        self.sparse = sparse

    def value(self):
        return self.sparse.entries

    def row(self):
        return self.sparse.rows


class SparseTensor:
    """What upstream asks of torch-sparse: entries in order of their rows, rows by their numbers."""

    def __init__(self, row, col, value, sparse_sizes):
        order = torch.sort(row * sparse_sizes[1] + col, stable=True)[1]
        self.rows, self.cols, self.entries = row[order], col[order], value[order]
        self.sizes, self.storage = sparse_sizes, _Storage(self)

    def __getitem__(self, rows):
        found = [torch.nonzero(self.rows == row).flatten() for row in rows.tolist()]
        places = torch.cat(found) if found else self.rows[:0]
        counts = torch.tensor([len(each) for each in found], dtype=torch.long)
        new = torch.repeat_interleave(torch.arange(len(rows)), counts)
        result = SparseTensor.__new__(SparseTensor)
        result.rows, result.cols, result.entries = new, self.cols[places], self.entries[places]
        result.sizes, result.storage = (len(rows), self.sizes[1]), _Storage(result)
        return result

    def coo(self):
        return self.rows, self.cols, self.entries

    def sparse_sizes(self):
        return self.sizes

    def set_value_(self, value, layout=None):
        self.entries = value
        return self


class Config:
    """Fields with defaults, as upstream declares them."""

    def __init__(self, **given):
        for kind in reversed(type(self).__mro__):
            for name in getattr(kind, "__annotations__", {}):
                if hasattr(kind, name):
                    setattr(self, name, getattr(kind, name))
        vars(self).update(given)
        self.__post_init__()

    def __post_init__(self):
        pass


class Batch:
    pass


module("torch_scatter", scatter=scatter, segment_coo=segment_coo, segment_csr=None,
       **{f"scatter_{kind}": None for kind in ("add", "max", "mean", "min", "mul", "sum")})  # fmt: skip
module("torch_sparse", SparseTensor=SparseTensor)
module("nshconfig", Config=Config)
module("nshtrainer")
module("nshtrainer.nn", TypedModuleList=nn.ModuleList)
module("torch_geometric")
module("torch_geometric.data", Batch=Batch)
module("torch_geometric.data.batch", Batch=Batch)
module("torch_geometric.data.data", BaseData=Batch)
module("torch_geometric.nn", radius_graph=None)
module("torch_geometric.utils", sort_edge_index=None)
sys.path.insert(0, sys.argv[1])

from jmp.models.gemnet.backbone import GemNetOCBackbone  # noqa: E402
from jmp.models.gemnet.config import BackboneConfig  # noqa: E402
from jmp.models.gemnet.layers.base_layers import ScaledSiLU  # noqa: E402


class Kept(GemNetOCBackbone):
    """Edges that either end keeps, where upstream keeps those of the end with the higher number."""

    def symmetrize_edges(self, graph, batch):
        pairs = [
            (int(s), int(t), *map(int, o))
            for (s, t), o in zip(graph["edge_index"].T, graph["cell_offset"], strict=True)
        ]
        both = sorted({*pairs, *((t, s, -a, -b, -c) for s, t, a, b, c in pairs)}, key=lambda e: (e[1], e))
        place = {edge: number for number, edge in enumerate(both)}
        swap = torch.tensor([place[(t, s, -a, -b, -c)] for s, t, a, b, c in both])
        return listed(self.positions, self.cell, np.array(both)), swap


def images(atoms, cutoff):
    """All edges s → t shorter than a cutoff: s, t and the cell of s, and their lengths."""
    cell, positions = np.array(atoms.cell), atoms.positions
    reach = [0] * 3
    if atoms.pbc.all():
        heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        reach = [int(np.ceil(cutoff / height)) + 1 for height in heights]
    edges, lengths = [], []
    for offset in itertools.product(*(range(-r, r + 1) for r in reach)):
        apart = positions[:, None] + np.array(offset) @ cell - positions[None]
        far = np.linalg.norm(apart, axis=-1)
        for s, t in zip(*np.nonzero((far < cutoff) & (far > 1e-6)), strict=True):
            edges.append((s, t, *offset))
            lengths.append(far[s, t])
    return np.array(edges), np.array(lengths)


def nearest(edges, lengths, count):
    """Of the edges that end at each atom, the nearest ones; sorted by that atom."""
    order = np.lexsort((lengths, edges[:, 1]))
    kept, seen = [], {}
    for place in order:
        end = edges[place, 1]
        seen[end] = seen.get(end, 0) + 1
        if seen[end] <= count:
            kept.append(edges[place])
    return np.array(kept)


def listed(positions, cell, edges):
    """A graph as upstream has it."""
    edges = torch.tensor(edges, dtype=torch.long)
    source, target, offset = edges[:, 0], edges[:, 1], edges[:, 2:]
    apart = positions[source] + offset.to(positions.dtype) @ cell - positions[target]
    lengths = apart.norm(dim=-1)
    return {
        "edge_index": torch.stack([source, target]),
        "cell_offset": offset,
        "distance": lengths,
        "vector": -apart / lengths[:, None],
        "num_neighbors": torch.tensor([len(edges)]),
    }


def evaluate(model, head, atoms, counts):
    edges, lengths = images(atoms, CUTOFF)
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    own = torch.tensor(atoms.positions, requires_grad=True)
    cell = torch.tensor(np.array(atoms.cell)) @ (torch.eye(3).double() + strain)
    positions = own @ (torch.eye(3).double() + strain)
    model.positions, model.cell = positions, cell
    data = Batch()
    data.pos, data.batch = positions, torch.zeros(len(atoms), dtype=torch.long)
    data.atomic_numbers = torch.tensor(atoms.numbers)
    for name, count in zip(("main", "a2ee2a", "qint", "a2a"), counts, strict=True):
        for key, value in listed(positions, cell, nearest(edges, lengths, count)).items():
            setattr(data, f"{name}_{key}", value)
    x = model(data)["energy"]
    energies = head(x).squeeze(-1) + torch.tensor([SHIFTS[s] for s in atoms.symbols]).double()
    forces, virial = torch.autograd.grad(energies.sum(), [own, strain])
    answer = {"energies": energies.tolist(), "forces": (-forces).tolist()}
    if atoms.pbc.all():
        answer["stress"] = ((virial + virial.T) / 2 / atoms.get_volume()).tolist()
    return answer


def build(sizes, kind=GemNetOCBackbone):
    given = COMMON | sizes | {"scale_file": None, "regress_forces": False}
    given["edge_dropout"] = None
    torch.set_default_dtype(torch.float32)  # as a released model is made
    return kind(
        BackboneConfig(**given), **{k: v for k, v in given.items() if k not in ("dropout", "edge_dropout")}
    )


def layout(model):
    """As a released file has it, in its order."""
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    first = {"embedding.atom_embedding.weight": shapes.pop("embedding.weight")}
    return first | {f"backbone.{name}": shape for name, shape in shapes.items()}


def loaded(kind):
    model = build(SMALL, kind)
    state = {n.removeprefix("backbone."): t for n, t in tensors(layout(model)).items()}
    state["embedding.weight"] = state.pop("embedding.atom_embedding.weight")
    model.load_state_dict(state, strict=True)
    return model.double().eval()


def seeded_head(atom):
    layers = [nn.Linear(atom, atom) for _ in range(HEAD_LAYERS)]
    head = nn.Sequential(
        *(each for layer in layers for each in (layer, ScaledSiLU())), nn.Linear(atom, 1, bias=False)
    )
    weights = tensors(head_layout(atom))
    head.load_state_dict({name.removeprefix("out_mlp_node."): t for name, t in weights.items()}, strict=True)
    return head.double()


def main():
    head = seeded_head(SMALL["emb_size_atom"])
    torch.set_default_dtype(torch.float64)
    answers, pruned = {}, {}
    for name, counts in LISTS.items():
        model = loaded(GemNetOCBackbone if name == "all" else Kept)
        torch.set_default_dtype(torch.float64)
        for case, atoms in structures().items():
            if name == "all" and case != "molecule":
                continue
            answers[f"{name} {case}"] = evaluate(model, head, atoms, counts)
        model.num_blocks = 1
        pruned[name] = evaluate(model, head, structures()["molecule"], counts)
    content = {
        "layout": layout(loaded(GemNetOCBackbone)),
        "answers": answers,
        "pruned": pruned,
        "released": {name: layout(build(sizes)) for name, sizes in SIZES.items()},
    }
    Path(__file__).with_name("answers.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
