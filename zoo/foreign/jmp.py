"""Pre-trained networks as JMP keeps them: one ``.pt`` file of PyTorch Lightning.

Such a file has the network and heads for the data sets that it was trained on, which are left behind as upstream
does; its optimiser keeps averages of all weights, which upstream prefers for fits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from torch import Tensor

from halocline.errors import CheckpointError
from halocline.zoo.cache import digest
from halocline.zoo.foreign.model import (
    COUNT,
    UNUSED,
    ForeignModel,
    Rule,
    check_blocks,
    check_tensors,
    only,
    read_hyperparameters,
)
from halocline.zoo.foreign.unpickle import read_torch_objects

#: By which a file is known: what the names of tensors contain in all of them.
MARK: Final = "int_blocks.0.quad_interaction."

#: Rows of its table of elements.
_ROWS: Final = 120

_NUMBER = Rule("a whole number from 0 to 64", lambda value: type(value) is int and 0 <= value <= 64)
_SIZES = ("atom", "edge", "trip_in", "trip_out", "quad_in", "quad_out", "aint_in", "aint_out", "rbf", "cbf", "sbf")
_LAYERS = (
    *("num_before_skip", "num_after_skip", "num_concat", "num_atom", "num_output_afteratom"),
    *("num_atom_emb_layers", "num_global_out_layers"),
)
_ENVELOPE = Rule(
    "a polynomial with an exponent",
    lambda value: (
        isinstance(value, dict)
        and set(value) == {"name", "exponent"}
        and value["name"] == "polynomial"
        and type(value["exponent"]) is int
        and 0 < value["exponent"] < 32
    ),
)

_BACKBONE = {
    **dict.fromkeys((f"emb_size_{name}" for name in _SIZES), COUNT),
    **dict.fromkeys(("num_spherical", "num_radial", "num_blocks"), COUNT),
    **dict.fromkeys(_LAYERS, _NUMBER),
    **dict.fromkeys(
        ("quad_interaction", "atom_edge_interaction", "edge_atom_interaction", "atom_interaction"),
        only(value=True),
    ),
    **dict.fromkeys(
        ("scale_basis", "learnable_rbf", "learnable_rbf_stds", "unique_basis_per_layer"),
        only(value=False, required=False),
    ),
    "rbf": only({"name": "gaussian"}),
    "rbf_spherical": Rule("None or the same", lambda value: value in (None, {"name": "gaussian"}), kept=False),
    "cbf": only({"name": "spherical_harmonics"}),
    "sbf": only({"name": "legendre_outer"}),
    "envelope": _ENVELOPE,
    "activation": only("scaled_silu"),
    "num_elements": only(_ROWS),
    "absolute_rbf_cutoff": only(12.0),
    "direct_forces": only(value=True),
    # Of what is not taken over, of training, and of graphs, which are made elsewhere.
    **dict.fromkeys(("num_targets", "regress_forces", "regress_energy", "extensive", "forces_coupled"), UNUSED),
    **dict.fromkeys(("use_pbc", "scale_backprop_forces", "qint_tags", "otf_graph", "scale_file"), UNUSED),
    **dict.fromkeys(("dropout", "edge_dropout", "name"), UNUSED),
}

_PREFIXES = ("backbone.", "embedding.")

#: Tensors that are left behind: of direct forces, and those that are there under another name.
_UNUSED = re.compile(
    r"backbone\.(out_mlp_F\.|out_blocks\.\d+\.(seq_energy_pre|seq_forces|dense_rbf_F|scale_rbf_F)\.)"
)

#: Tensors that no optimiser has: buffers, and those that are there under another name.
_NOT_FITTED = re.compile(r"task_steps|.*(rbf\.offset|rbf\.temps|scale_factor)$|.*\.seq_energy_pre\.")

AVERAGED: Final = "averages over the last steps of training, which upstream prefers"
LAST: Final = "those of the last step of training"

#: That of everything that upstream released: no commercial use.
LICENCE: Final = MappingProxyType({"code": "CC-BY-NC-4.0", "weights": "CC-BY-NC-4.0"})
CITATION: Final = (
    "N. Shoghi et al., From molecules to materials: pre-training large generalizable models for atomic property "
    "prediction, ICLR 2024, arXiv:2310.16802",
    "J. Gasteiger et al., GemNet-OC: developing graph neural networks for large and diverse molecular simulation "
    "datasets, TMLR 2022, arXiv:2204.02782",
)

Shape = tuple[int, ...]


def read_jmp(path: Path) -> ForeignModel:
    """Read a pre-trained network of JMP.

    Args:
        path: the ``.pt`` file.

    Returns:
        Hyper-parameters and tensors under upstream's names, without direct forces. The facts say whether weights
        are averages, which are taken where they can be told apart.

    Raises:
        CheckpointError: it is no such file, is damaged or hostile, or holds a model that is not known here.
    """
    content = read_torch_objects(path)
    if not isinstance(content, dict) or not {"state_dict", "hyper_parameters"} <= set(content):
        raise CheckpointError(f"{path} is no network of JMP, which has state_dict and hyper_parameters.")
    state = content["state_dict"]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise CheckpointError(f"The part 'state_dict' of {path} must hold tensors by name.")
    settings = content["hyper_parameters"]
    config = read_hyperparameters(
        path, settings.get("backbone") if isinstance(settings, dict) else None, _BACKBONE
    )
    averages = _averages(state, content.get("optimizer_states"))
    tensors = {
        name: value
        for name, value in (state | averages).items()
        if name.startswith(_PREFIXES) and not _UNUSED.match(name)
    }
    check_blocks(path, tensors, config["num_blocks"])
    check_tensors(path, tensors, jmp_layout(config))
    facts = {
        "files": {path.name: digest(path)},
        "model": f"JMP, {config['num_blocks']} blocks",
        "weights": AVERAGED if averages else LAST,
    }
    return ForeignModel(
        dialect="jmp", config=config, tensors=tensors, facts=facts, licence=LICENCE, citation=CITATION
    )


def _averages(state: Mapping[str, Tensor], optimisers: Any) -> dict[str, Tensor]:
    """Averages of weights by name; none where the file has none, or does not tell whose they are.

    They have no names, and are in the order of the weights. With several groups of weights that is another one.
    """
    match optimisers:
        case [{"ema": tuple() as averages, "param_groups": [_]}]:
            names = [name for name in state if not _NOT_FITTED.match(name)]
            if [getattr(each, "shape", None) for each in averages] == [state[name].shape for name in names]:
                return dict(zip(names, averages, strict=True))
    return {}


def jmp_layout(config: Mapping[str, Any]) -> dict[str, Shape]:
    """The tensors of a state that are used: name → shape."""
    size = {name: config[f"emb_size_{name}"] for name in _SIZES}
    atom, edge, count = size["atom"], size["edge"], config["num_radial"]
    degrees = config["num_spherical"]
    layout: dict[str, Shape] = {"embedding.atom_embedding.weight": (_ROWS, atom)}
    for name in _RADIAL:
        layout |= {f"backbone.bases.{name}.rbf.{kind}": (count,) for kind in ("offset", "temps")}
    layout |= _dense("backbone.bases.edge_emb.dense", 2 * atom + count, edge)
    for name in ("qint", "aeint", "eaint", "tint", "h", "out"):
        layout |= _dense(f"backbone.bases.mlp_rbf_{name}", count, size["rbf"])
    layout["backbone.bases.mlp_rbf_aint.weight"] = (size["rbf"], count)
    for name in ("qint", "aeint", "eaint", "tint"):
        layout[f"backbone.bases.mlp_cbf_{name}.weight"] = (count, degrees, size["cbf"])
    layout["backbone.bases.mlp_sbf_qint.weight"] = (count, degrees**2, size["sbf"])
    for block in range(config["num_blocks"]):
        layout |= _block(f"backbone.int_blocks.{block}", size, config)
    for block in range(config["num_blocks"] + 1):
        name = f"backbone.out_blocks.{block}"
        layout |= _from_edges(name, size, config["num_atom"])
        layout |= _residuals(f"{name}.seq_energy2", atom, config["num_output_afteratom"])
    layout |= _dense("backbone.out_mlp_E.out_mlp.0", atom * (config["num_blocks"] + 1), atom)
    return layout | _residuals("backbone.out_mlp_E.out_mlp", atom, config["num_global_out_layers"], first=1)


_RADIAL = (
    *("radial_basis", "cbf_basis_qint.radial_basis", "sbf_basis_qint.radial_basis", "radial_basis_aeaint"),
    *("cbf_basis_aeint.radial_basis", "cbf_basis_eaint.radial_basis", "radial_basis_aint"),
    "cbf_basis_tint.radial_basis",
)


def _block(name: str, size: Mapping[str, int], config: Mapping[str, Any]) -> dict[str, Shape]:
    atom, edge = size["atom"], size["edge"]
    layout = _dense(f"{name}.dense_ca", edge, edge)
    for kind, inputs, outputs in (("trip", edge, edge), ("atom_edge", atom, edge), ("edge_atom", edge, atom)):
        triplet = f"{name}.{kind}_interaction"
        layout |= _weighted(triplet, "dense_ba", inputs, size["trip_in"], size)
        layout |= _dense(f"{triplet}.mlp_cbf.bilinear", size["trip_in"] * size["cbf"], size["trip_out"])
        layout[f"{triplet}.scale_cbf_sum.scale_factor"] = ()
        ways = ("ca",) if kind == "edge_atom" else ("ca", "ac")
        for way in ways:
            layout |= _dense(f"{triplet}.up_projection_{way}", size["trip_out"], outputs)
    chains = f"{name}.quad_interaction"
    layout |= _weighted(chains, "dense_db", edge, size["quad_in"], size)
    layout |= _dense(f"{chains}.mlp_cbf", size["cbf"], size["quad_in"])
    layout |= _dense(f"{chains}.mlp_sbf.bilinear", size["quad_in"] * size["sbf"], size["quad_out"])
    layout |= {f"{chains}.{scale}.scale_factor": () for scale in ("scale_cbf", "scale_sbf_sum")}
    for way in ("ca", "ac"):
        layout |= _dense(f"{chains}.up_projection_{way}", size["quad_out"], edge)
    pairs = f"{name}.atom_interaction"
    layout |= _dense(f"{pairs}.bilinear", size["rbf"] * size["aint_in"], size["aint_out"])
    layout |= _dense(f"{pairs}.down_projection", atom, size["aint_in"])
    layout |= _dense(f"{pairs}.up_projection", size["aint_out"], atom)
    layout[f"{pairs}.scale_rbf_sum.scale_factor"] = ()
    for layers, width, number in (
        ("layers_before_skip", edge, "num_before_skip"),
        ("layers_after_skip", edge, "num_after_skip"),
        ("atom_emb_layers", atom, "num_atom_emb_layers"),
        ("residual_m", edge, "num_concat"),
    ):
        layout |= _residuals(f"{name}.{layers}", width, config[number])
    layout |= _from_edges(f"{name}.atom_update", size, config["num_atom"])
    return layout | _dense(f"{name}.concat_layer.dense", 2 * atom + edge, edge)


def _weighted(name: str, dense: str, inputs: int, kept: int, size: Mapping[str, int]) -> dict[str, Shape]:
    layout = _dense(f"{name}.{dense}", inputs, inputs) | _dense(f"{name}.mlp_rbf", size["rbf"], inputs)
    return layout | _dense(f"{name}.down_projection", inputs, kept) | {f"{name}.scale_rbf.scale_factor": ()}


def _from_edges(name: str, size: Mapping[str, int], layers: int) -> dict[str, Shape]:
    atom, edge = size["atom"], size["edge"]
    layout = _dense(f"{name}.dense_rbf", size["rbf"], edge) | {f"{name}.scale_sum.scale_factor": ()}
    into = edge != atom
    if into:
        layout |= _dense(f"{name}.layers.0", edge, atom)
    return layout | _residuals(f"{name}.layers", atom, layers, first=int(into))


def _residuals(name: str, width: int, layers: int, first: int = 0) -> dict[str, Shape]:
    layout: dict[str, Shape] = {}
    for layer in range(first, first + layers):
        for dense in (0, 1):
            layout |= _dense(f"{name}.{layer}.dense_mlp.{dense}", width, width)
    return layout


def _dense(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}.linear.weight": (outputs, inputs)}
