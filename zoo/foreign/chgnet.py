"""Models as CHGNet keeps them: one ``.pth.tar`` file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from halocline.errors import CheckpointError
from halocline.zoo.cache import digest
from halocline.zoo.foreign.model import (
    COUNT,
    LENGTH,
    UNUSED,
    ForeignModel,
    Rule,
    check_blocks,
    check_tensors,
    only,
    read_hyperparameters,
)
from halocline.zoo.foreign.unpickle import read_torch_file

#: Far more hidden layers than any readout has.
_MOST_LAYERS = 16

_WIDTHS = Rule(
    f"a list of equal widths, of at most {_MOST_LAYERS} hidden layers",
    lambda value: (
        isinstance(value, list)
        and 0 < len(value) <= _MOST_LAYERS
        and all(type(width) is int and width == value[0] for width in value)
    ),
)
_NORM = Rule("'layer' or None", lambda value: value in ("layer", None))
_WIDTH_NAMES = ("atom_fea_dim", "bond_fea_dim", "angle_fea_dim", "atom_conv_hidden_dim", "bond_conv_hidden_dim")

_ARGUMENTS = {
    **dict.fromkeys(("n_conv", "num_radial", "num_angular", "cutoff_coeff", *_WIDTH_NAMES), COUNT),
    **dict.fromkeys(("atom_graph_cutoff", "bond_graph_cutoff"), LENGTH),
    **dict.fromkeys(("gMLP_norm", "readout_norm"), _NORM),
    **dict.fromkeys(
        ("update_bond", "update_angle", "mlp_first", "is_intensive", "learnable_rbf"), only(value=True)
    ),
    **dict.fromkeys(("mlp_dropout", "conv_dropout", "angle_layer_hidden_dim"), only(0)),
    "mlp_hidden_dims": _WIDTHS,
    "non_linearity": only("silu"),
    "read_out": only("ave"),
    "conv_norm": only(None, required=False),
    "skip_connection": only(value=False, required=False),
    # What it was fitted to; how its graphs were made; a misspelt copy of cutoff_coeff.
    **dict.fromkeys(("composition_model", "graph_converter_algorithm", "cutofff_coeff", "version"), UNUSED),
}

Shape = tuple[int, ...]

#: Rows of its tables of elements.
_ROWS = 94


def read_chgnet(path: Path) -> ForeignModel:
    """Read a CHGNet. The states of its training, which lie in the same file, are left behind.

    Args:
        path: the ``.pth.tar`` file.

    Returns:
        Arguments and tensors under CHGNet's names. ``mlp_out_bias``, which upstream tells from the name of the
        model, is told from the tensors.

    Raises:
        CheckpointError: it is no such file, is damaged or hostile, or holds a model that is not known here.
    """
    content = read_torch_file(path)
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not {"state_dict", "model_args"} <= set(model):
        raise CheckpointError(f"{path} is not a model of CHGNet, which has state_dict and model_args in model.")
    config = read_hyperparameters(path, model["model_args"], _ARGUMENTS)
    if len({config[name] for name in _WIDTH_NAMES} | set(config["mlp_hidden_dims"])) > 1:
        raise CheckpointError(f"The model in {path} has features and hidden layers of different widths.")
    if config["gMLP_norm"] != config["readout_norm"]:
        raise CheckpointError(f"The model in {path} normalises its gated perceptrons or its readout, not both.")
    tensors = model["state_dict"]
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f"The part 'state_dict' of {path} must hold tensors by name.")
    config["mlp_out_bias"] = "atom_conv_layers.0.mlp_out.layers.1.bias" in tensors
    check_blocks(path, tensors, config["n_conv"])
    check_tensors(path, tensors, chgnet_layout(config))
    facts = {"files": {path.name: digest(path)}, "model": "CHGNet"}
    return ForeignModel(dialect="chgnet", config=config, tensors=tensors, facts=facts)


def chgnet_layout(config: dict[str, Any]) -> dict[str, Shape]:
    """The tensors of a state: name → shape."""
    width, radial, angular = config["atom_fea_dim"], config["num_radial"], config["num_angular"]
    layout: dict[str, Shape] = {
        "composition_model.fc.weight": (1, _ROWS),
        "atom_embedding.embedding.weight": (_ROWS, width),
        "angle_basis_expansion.fourier_expansion.frequencies": ((angular - 1) // 2,),
        "angle_embedding.weight": (width, angular),
    }
    for name in ("bond_embedding", "bond_weights_ag", "bond_weights_bg"):
        layout[f"{name}.weight"] = (width, radial)
    for graph in ("ag", "bg"):
        layout[f"bond_basis_expansion.rbf_expansion_{graph}.frequencies"] = (radial,)
    for layer in range(config["n_conv"]):
        layout |= _convolution(f"atom_conv_layers.{layer}", "twoBody_atom", 3, config)
        if layer < config["n_conv"] - 1:
            layout |= _convolution(f"bond_conv_layers.{layer}", "twoBody_bond", 4, config)
            layout |= _gated(f"angle_layers.{layer}.twoBody_bond", {"layers.1": 4}, config)
    layout |= _linear("site_wise", 1, width)
    if config["readout_norm"]:
        layout |= {f"readout_norm.{kind}": (width,) for kind in ("weight", "bias")}
    hidden = len(config["mlp_hidden_dims"])
    for layer in range(hidden):
        layout |= _linear(f"mlp.layers.{2 * layer}", width, width)
    return layout | _linear(f"mlp.layers.{2 * hidden + 1}", 1, width)


def _convolution(name: str, gated: str, parts: int, config: dict[str, Any]) -> dict[str, Shape]:
    width = config["atom_fea_dim"]
    layout = _gated(f"{name}.{gated}", {"layers.0": parts, "layers.3": 1}, config)
    out = _linear(f"{name}.mlp_out.layers.1", width, width)
    if not config["mlp_out_bias"]:
        del out[f"{name}.mlp_out.layers.1.bias"]
    return layout | out


def _gated(name: str, layers: dict[str, int], config: dict[str, Any]) -> dict[str, Shape]:
    """Two perceptrons, by the number of parts that each of their layers joins, and their normalisation."""
    width, layout = config["atom_fea_dim"], dict[str, Shape]()
    for side in ("core", "gate"):
        for layer, parts in layers.items():
            layout |= _linear(f"{name}.mlp_{side}.{layer}", width, parts * width)
    if config["gMLP_norm"]:
        layout |= {f"{name}.bn{number}.{kind}": (width,) for number in (1, 2) for kind in ("weight", "bias")}
    return layout


def _linear(name: str, outputs: int, inputs: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
