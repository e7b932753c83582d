"""Models as orb-models keeps them: a state dictionary in one ``.ckpt`` file, without any hyper-parameter.

What the tensors do not say, how many neighbours an atom sends to, upstream knows by the name of the model, and so
it is told from the name of the file here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from halocline.errors import CheckpointError
from halocline.zoo.cache import digest
from halocline.zoo.foreign.model import ForeignModel, check_blocks, check_tensors, show
from halocline.zoo.foreign.unpickle import read_torch_file

#: By which a file is known: what the names of tensors contain in all of them.
MARK: Final = "gnn_stacks.0._receive_attn."

#: Names of files and how many neighbours their models have; those of version 2 have 20, whatever they are called.
_NEIGHBOURS: Final = (
    (re.compile(r"orb-v3-(conservative|direct)-20-"), 20),
    (re.compile(r"orb-v3-(conservative|direct)-(inf|omol)"), 120),
    (re.compile(r"separate-d[34]-"), 120),
)
_OF_VERSION_2 = 20

#: Prefixes of earlier releases → those of today.
_RENAMED: Final = {"node_head.": "heads.forces.", "graph_head.": "heads.energy.", "stress_head.": "heads.stress."}

#: What is left behind: the decoder of pre-training, the confidence, and what only training needs.
_UNUSED = re.compile(
    r"model\._decoder\.|heads\.confidence\.|grad_(forces|stress)_normalizer\.|.*\.num_batches_tracked$"
)

#: Numbers for each edge: of version 2, Gaussians and a direction, and of version 3, waves times harmonics.
_VERSIONS: Final = {23: 2, 128: 3}

#: Atomic numbers that upstream has rows for, and reference energies.
_ROWS, _REFERENCES = 119, 118

_WAVES = "model.rbf_transform"

Shape = tuple[int, ...]


def read_orb(path: Path) -> ForeignModel:
    """Read an ORB of version 2 or 3.

    Args:
        path: the ``.ckpt`` file, of version 3 by the name under which it was released.

    Returns:
        Sizes and choices, as the tensors and the name of the file say, and the tensors that energies, forces and
        stress depend on, under the names of today.

    Raises:
        CheckpointError: it is no such file, is damaged or hostile, holds a model that is not known here, or does
            not say by its name how many neighbours the model has.
    """
    tensors = _named(path, read_torch_file(path))
    config = _sizes(path, tensors)
    config["neighbours"] = _neighbours(path, config["version"])
    check_blocks(path, tensors, config["layers"])
    check_tensors(path, tensors, orb_layout(config))
    facts = {"files": {path.name: digest(path)}, "model": f"ORB, version {config['version']}"}
    return ForeignModel(dialect="orb", config=config, tensors=tensors, facts=facts)


def orb_layout(config: Mapping[str, Any]) -> dict[str, Shape]:
    """The tensors of a state that are used: name → shape."""
    features, head = config["features"], config["head_hidden"]
    version_2 = config["version"] == min(_VERSIONS.values())
    edge = next(inputs for inputs, version in _VERSIONS.items() if version == config["version"])
    layout: dict[str, Shape] = {
        "model.atom_emb.embeddings.weight": (_ROWS, features),
        "heads.energy.reference.linear.weight": (_REFERENCES,),
    }
    if not version_2:
        layout |= {f"{_WAVES}.bessel_weights": (8,), f"{_WAVES}.r_max": (), f"{_WAVES}.prefactor": ()}
    layout |= _update("model._encoder._node_fn", features, config) | _update(
        "model._encoder._edge_fn", edge, config
    )
    for layer in range(config["layers"]):
        name = f"model.gnn_stacks.{layer}"
        layout |= _update(f"{name}._node_mlp", 3 * features, config)
        layout |= _update(f"{name}._edge_mlp", 3 * features, config)
        layout |= _linear(f"{name}._receive_attn", features, 1) | _linear(f"{name}._send_attn", features, 1)
        if config["charged"]:
            layout |= _linear(f"{name}._cond_node_proj", features, features)
    if config["charged"]:
        layout |= {f"model.conditioner.{told}_embedding.W": (features // 4,) for told in ("charge", "spin")}
    heads: dict[str, tuple[int, tuple[str, ...]]] = {"energy": (1, ("normalizer",))}
    if config["direct"]:
        heads["forces"] = (3, ("normalizer",))
    if config["direct"] and config["stress"]:
        heads["stress"] = (6, ("normalizer",) if version_2 else ("diag_normalizer", "offdiag_normalizer"))
    for name, (outputs, units) in heads.items():
        layout |= _linear(f"heads.{name}.mlp.NN-0", features, head) | _linear(
            f"heads.{name}.mlp.NN-1", head, outputs
        )
        layout |= {f"heads.{name}.{unit}.bn.running_{kind}": (1,) for unit in units for kind in ("mean", "var")}
    return layout


def _update(name: str, inputs: int, config: Mapping[str, Any]) -> dict[str, Shape]:
    """A perceptron and its normalisation."""
    features, hidden = config["features"], config["hidden"]
    layout: dict[str, Shape] = {f"{name}.layer_norm.weight": (features,)}
    if config["version"] == min(_VERSIONS.values()):
        layout[f"{name}.layer_norm.bias"] = (features,)
    sizes = (inputs, hidden, hidden, features)
    for layer in range(3):
        layout |= _linear(f"{name}.mlp.NN-{layer}", sizes[layer], sizes[layer + 1])
    return layout


def _linear(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _named(path: Path, content: Any) -> dict[str, Tensor]:
    """The used tensors of a state dictionary, as they are called today."""
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{path} holds no state dictionary: it is {show(content)}.")
    found: dict[str, Tensor] = {}
    bare = not any(str(name).startswith(("heads.", *_RENAMED)) for name in content)
    for given, value in content.items():
        if not isinstance(given, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path} is no state dictionary: {show(given)} in it is {show(value)}.")
        name = given.replace("normaliser", "normalizer")
        for old, new in _RENAMED.items():
            name = new + name.removeprefix(old) if name.startswith(old) else name
        if name.startswith("model.model."):
            name = name.removeprefix("model.")
        if not _UNUSED.match(name):
            found[name] = value.reshape(-1) if name.endswith("reference.linear.weight") else value
    if bare:
        raise CheckpointError(
            f"{path} holds an ORB without heads, which tells no energy: import one that was fitted to energies."
        )
    return found


def _sizes(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the shapes say."""
    names = {
        "edge": "model._encoder._edge_fn.mlp.NN-0.weight",
        "atom": "model.atom_emb.embeddings.weight",
        "energy": "heads.energy.mlp.NN-0.weight",
    }
    for name in names.values():
        if name not in tensors or tensors[name].ndim != 2:
            raise CheckpointError(f"{path} has no matrix {name}, which every ORB of version 2 or 3 has.")
    hidden, edge = tensors[names["edge"]].shape
    if edge not in _VERSIONS:
        raise CheckpointError(
            f"The edges of the model in {path} have {edge} numbers each; ORBs of version 2 have 23 and of version "
            "3 have 128, and only these are read."
        )
    if f"{_WAVES}.r_max" in tensors and float(tensors[f"{_WAVES}.r_max"]) != 6.0:
        raise CheckpointError(f"{_WAVES}.r_max in {path} is {float(tensors[f'{_WAVES}.r_max'])} Å, not 6.0 Å.")
    layers = {
        found[1] for name in tensors if (found := re.match(r"model\.gnn_stacks\.(\d{1,5})\.", name, re.ASCII))
    }
    return {
        "version": _VERSIONS[edge],
        "direct": any(name.startswith("heads.forces.") for name in tensors),
        "stress": any(name.startswith("heads.stress.") for name in tensors),
        "charged": any(name.startswith("model.conditioner.") for name in tensors),
        "features": tensors[names["atom"]].shape[1],
        "hidden": hidden,
        "head_hidden": len(tensors[names["energy"]]),
        "layers": len(layers),
    }


def _neighbours(path: Path, version: int) -> int:
    if version == min(_VERSIONS.values()):
        return _OF_VERSION_2
    for pattern, count in _NEIGHBOURS:
        if pattern.search(path.name):
            return count
    raise CheckpointError(
        f"{path.name} does not say to how many neighbours its atoms send, 20 or 120: call the file as it was "
        "released, such as orb-v3-conservative-inf-omat-20250404.ckpt."
    )
