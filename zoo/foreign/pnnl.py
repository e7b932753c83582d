"""SchNets of the water-cluster work of PNNL: state dictionaries, as ``torch.save`` wrote them.

The layout is that of https://github.com/pnnl/downstream_mol_gnn (J. A. Bilbrey et al., arXiv:2211.04598). Sizes
are read off the tensors; that each atom has its 28 nearest neighbours, however far, is fixed in that code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from halocline.errors import CheckpointError
from halocline.zoo.cache import digest
from halocline.zoo.foreign.model import ForeignModel, check_blocks, check_tensors, show
from halocline.zoo.foreign.unpickle import read_torch_file

#: By which a file is known: the buffer of the centres of its Gaussians, under its name there and under that of
#: PyG's own SchNet.
CENTRES: Final = "basis_expansion.offset"
CENTRES_OF_PYG: Final = "distance_expansion.offset"

#: Rows of the embedding, by atomic number.
_ROWS = 100

#: Within DataParallel all names begin so.
_WRAPPED = "module."

#: Å; centres were evenly spaced in single precision.
_ROUNDED = 1e-5


def read_pnnl(path: Path) -> ForeignModel:
    """Read a SchNet of the water-cluster work.

    Args:
        path: the file of its state dictionary.

    Returns:
        Sizes, read off the tensors, and the tensors under its names. The filters' networks, which the file has
        twice, are there once, as ``mlp``. Weights are for energies in kcal/mol.

    Raises:
        CheckpointError: it is no such file, is damaged or hostile, or holds tensors that are not known here.
    """
    tensors = _named(path, read_torch_file(path))
    config = _sizes(path, tensors)
    check_blocks(path, tensors, config["interactions"])
    check_tensors(path, tensors, pnnl_layout(config))
    config["cutoff"] = _cutoff(path, tensors[CENTRES].double())
    once = {name: tensor for name, tensor in tensors.items() if ".conv.nn." not in name}
    for name in tensors.keys() - once.keys():
        twin = name.replace(".conv.nn.", ".mlp.")
        if not torch.equal(tensors[name], tensors[twin]):
            raise CheckpointError(f"{path} has {name} and {twin}, which must be the same weights, and differ.")
    facts = {"files": {path.name: digest(path)}, "model": "SchNet of water clusters", "energies_in": "kcal/mol"}
    return ForeignModel(dialect="pnnl", config=config, tensors=once, facts=facts)


def pnnl_layout(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors of a state: name → shape."""
    features, gaussians = config["features"], config["gaussians"]
    layout: dict[str, tuple[int, ...]] = {"atom_embedding.weight": (_ROWS, features), CENTRES: (gaussians,)}
    for block in range(config["interactions"]):
        name = f"interactions.{block}"
        for network in ("mlp", "conv.nn"):
            layout |= _linear(f"{name}.{network}.0", gaussians, features)
            layout |= _linear(f"{name}.{network}.2", features, features)
        layout[f"{name}.conv.lin1.weight"] = (features, features)
        layout |= _linear(f"{name}.conv.lin2", features, features) | _linear(f"{name}.lin", features, features)
    return layout | _linear("lin1", features, features // 2) | _linear("lin2", features // 2, 1)


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _named(path: Path, content: Any) -> dict[str, Tensor]:
    """The tensors of a state dictionary, as they are called outside of DataParallel."""
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path} holds no state dictionary: it is {show(content)}.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path} is no state dictionary: {show(name)} in it is {show(value)}.")
    if any(name.endswith(CENTRES_OF_PYG) for name in content):
        raise CheckpointError(
            f"{path} holds a SchNet in the layout of PyG, with {CENTRES_OF_PYG}. Its neighbours end at the "
            f"cutoff, which those of the water-cluster work, with {CENTRES}, do not; only these are read."
        )
    wrapped = all(name.startswith(_WRAPPED) for name in content)
    return {name.removeprefix(_WRAPPED) if wrapped else name: tensor for name, tensor in content.items()}


def _sizes(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the shapes say."""
    blocks = sum(re.fullmatch(r"interactions\.\d+\.lin\.bias", name, re.ASCII) is not None for name in tensors)
    if not blocks:
        raise CheckpointError(f"{path} has no tensor interactions.0.lin.bias, which every such SchNet has.")
    for name, axes in (("atom_embedding.weight", 2), (CENTRES, 1)):
        if name not in tensors or tensors[name].ndim != axes:
            raise CheckpointError(f"{path} must have a tensor {name} of {axes} axes, as every such SchNet has.")
    features, gaussians = tensors["atom_embedding.weight"].shape[1], len(tensors[CENTRES])
    if features < 2 or features % 2 or gaussians < 2:
        raise CheckpointError(
            f"{path} has {features} features and {gaussians} Gaussians; an even number of features and two or "
            "more Gaussians are read."
        )
    return {"features": features, "gaussians": gaussians, "interactions": blocks}


def _cutoff(path: Path, centres: Tensor) -> float:
    """Å; centres go from zero to the cutoff, which is written nowhere else."""
    cutoff = float(f"{float(centres[-1]):.6g}")
    even = torch.linspace(0.0, cutoff, len(centres), dtype=torch.float64)
    if not cutoff > 0.0 or float((centres - even).abs().max()) > _ROUNDED:
        raise CheckpointError(f"{CENTRES} in {path} must be evenly spaced from zero to a cutoff in Å.")
    return cutoff
