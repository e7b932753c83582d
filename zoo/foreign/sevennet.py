"""Models as SevenNet keeps them: a dictionary of a training run, with its settings and a state dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ase.data import chemical_symbols
from torch import Tensor

from halocline.errors import CheckpointError
from halocline.zoo.cache import digest
from halocline.zoo.foreign.model import (
    COUNT,
    FLAG,
    LENGTH,
    ForeignModel,
    Rule,
    check_blocks,
    check_tensors,
    only,
    read_hyperparameters,
    show,
)
from halocline.zoo.foreign.sevennet_layout import features_between, sevennet_layout
from halocline.zoo.foreign.unpickle import read_torch_objects

#: The name of a tensor by which a file is known.
MARK: Final = "onehot_to_feature_x.linear.weight"

#: From this version on, weights of convolutions are in the order of what they lead to.
_SORTED_FROM = (0, 11, 0)

#: Names of modules in files before version 0.10, and what they are called since.
_OLD_NAMES = {
    "EdgeEmbedding": "edge_embedding",
    "reducing nn input to hidden": "reduce_input_to_hidden",
    "reducing nn hidden to energy": "reduce_hidden_to_energy",
    "rescale atomic energy": "rescale_atomic_energy",
}
_OLD_PARTS = ("self connection intro", "self interaction 2", "convolution", "equivariant gate")

_ACTIVATIONS = {"e": "silu", "o": "tanh"}
_TABLE = Rule("a table", lambda value: isinstance(value, dict))
_LIST = Rule("a list of positive whole numbers", lambda v: isinstance(v, list) and all(map(COUNT.holds, v)))
_OPTIONAL_FLAG = FLAG._replace(required=False)

#: Settings on which the function depends, with their defaults; all others are those of training.
_SETTINGS: dict[str, Rule] = {
    "version": Rule("text", lambda value: isinstance(value, str)),
    "_type_map": _TABLE,
    "channel": COUNT,
    "lmax": Rule("0 to 3", lambda value: type(value) is int and 0 <= value <= 3),
    "lmax_edge": only(-1, required=False),
    "lmax_node": only(-1, required=False),
    "is_parity": only(False),
    "irreps_manual": Rule("false or a list of irreps", lambda v: v is False or isinstance(v, list)),
    "num_convolution_layer": COUNT,
    "radial_basis": _TABLE,
    "cutoff_function": _TABLE,
    "cutoff": LENGTH,
    "weight_nn_hidden_neurons": _LIST,
    "act_radial": only("silu"),
    "act_scalar": only(_ACTIVATIONS),
    "act_gate": only(_ACTIVATIONS),
    "self_connection_type": only("linear"),
    "interaction_type": only("nequip", required=False),
    "use_bias_in_linear": only(False),
    "readout_as_fcn": only(False),
    "_normalize_sph": _OPTIONAL_FLAG,
    "use_modality": _OPTIONAL_FLAG,
}

#: The same of models that were trained on several methods at once.
_MODALITIES: dict[str, Rule] = {
    "_modal_map": _TABLE,
    "use_modal_node_embedding": only(False),
    "use_modal_self_inter_intro": only(True),
    "use_modal_self_inter_outro": only(True),
    "use_modal_output_block": only(True),
    "use_modal_wise_shift": only(True),
    "use_modal_wise_scale": only(False),
}


def read_sevennet(path: Path) -> ForeignModel:
    """Read a model of SevenNet. Nothing in the file is called.

    Args:
        path: a checkpoint of its training.

    Returns:
        Sizes and choices, and the tensors under the names of today's versions. Couplings are among them, as
        versions differ in their signs.

    Raises:
        CheckpointError: it is no such file, is damaged or hostile, or has parts that are not known here.
    """
    root = read_torch_objects(path)
    if not isinstance(root, dict) or not {"config", "model_state_dict"} <= root.keys():
        raise CheckpointError(
            f"{path} is not a checkpoint of SevenNet: it must have a config and a model_state_dict."
        )
    state = root["model_state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"The model_state_dict in {path} must hold tensors by name.")
    tensors = {_today(str(name)): tensor for name, tensor in state.items()}
    tensors = {name: tensor for name, tensor in tensors.items() if _is_kept(name, tensor)}
    config = _config(path, root["config"])
    _per_species(tensors, len(config["species"]))
    check_blocks(path, tensors, config["layers"])
    check_tensors(path, tensors, sevennet_layout(config))
    facts = {"files": {path.name: digest(path)}, "model": "SevenNet", "model_version": root["config"]["version"]}
    return ForeignModel(dialect="sevennet", config=config, tensors=tensors, facts=facts)


def _today(name: str) -> str:
    module, _, rest = name.partition(".")
    for part in _OLD_PARTS:
        if module.endswith(f" {part}"):
            module = module.replace(" ", "_")
    return f"{_OLD_NAMES.get(module, module)}.{rest.replace('denumerator', 'denominator')}"


def _is_kept(name: str, tensor: Tensor) -> bool:
    """Whether a tensor belongs to the function; e3nn has empty weights, and masks that follow from irreps."""
    return bool(tensor.numel()) and not name.endswith(".output_mask")


def _per_species(tensors: dict[str, Tensor], species: int) -> None:
    """One number for all species is one for each of them."""
    for name in ("rescale_atomic_energy.shift", "rescale_atomic_energy.scale"):
        if name in tensors and tensors[name].shape == (1,):
            tensors[name] = tensors[name].repeat(species)


def _config(path: Path, settings: Any) -> dict[str, Any]:
    given = _read(path, settings, _SETTINGS)
    heads: list[Any] = []
    if given.get("use_modality"):
        heads = _in_order(path, _read(path, settings, _MODALITIES)["_modal_map"])
    if len(heads) == 1 or not all(isinstance(head, str) and head.isprintable() for head in heads):
        raise CheckpointError(f"The modalities in {path} must be two different names or more.")
    channels, layers = given["channel"], given["num_convolution_layer"]
    irreps = features_between(path, given["irreps_manual"], channels, given["lmax"], layers)
    return {
        "species": _species(path, given["_type_map"]),
        "channels": irreps[0],
        "irreps": [list(term) for term in irreps[1]],
        "layers": layers,
        "lmax": given["lmax"],
        "normalised_harmonics": given.get("_normalize_sph", False),
        "cutoff": float(given["cutoff"]),
        "bessels": _bessels(path, given["radial_basis"]),
        **_envelope(path, given["cutoff_function"], given["cutoff"]),
        "radial_units": given["weight_nn_hidden_neurons"],
        "heads": heads,
        "sorted": _version(path, given["version"]) >= _SORTED_FROM,
    }


def _read(path: Path, settings: Any, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Those settings that rules know, checked; the others are of training."""
    known = {k: v for k, v in settings.items() if k in rules} if isinstance(settings, dict) else settings
    return read_hyperparameters(path, known, rules)


def _species(path: Path, numbers: Mapping[Any, Any]) -> list[str]:
    found = _in_order(path, numbers)
    if not found or not all(type(number) is int and 0 < number < len(chemical_symbols) for number in found):
        raise CheckpointError(f"The species in {path} are no different elements.")
    return [chemical_symbols[number] for number in found]


def _in_order(path: Path, places: Mapping[Any, Any]) -> list[Any]:
    """Keys of a table, whose values count them."""
    if sorted(map(str, places.values())) != sorted(map(str, range(len(places)))):
        raise CheckpointError(f"A table in {path} must count its {len(places)} entries from 0.")
    return sorted(places, key=lambda key: int(places[key]))


def _bessels(path: Path, basis: Mapping[str, Any]) -> int:
    count = basis.get("bessel_basis_num", 8)
    if basis.get("radial_basis_name") != "bessel" or not COUNT.holds(count):
        raise CheckpointError(f"The radial basis in {path} must be of Bessel functions, not {show(str(basis))}.")
    return int(count)


def _envelope(path: Path, envelope: Mapping[str, Any], cutoff: float) -> dict[str, Any]:
    match envelope.get("cutoff_function_name"), envelope.get("cutoff_on"), envelope.get("poly_cut_p_value", 6):
        case "XPLOR", float() | int() as begin, _ if 0 <= begin < cutoff:
            return {"envelope": "xplor", "xplor_from": float(begin)}
        case "poly_cut", _, int() as order if 2 <= order < 100:
            return {"envelope": "polynomial", "envelope_order": order}
    raise CheckpointError(f"The cutoff function in {path} is not known here: {show(str(dict(envelope)))}.")


def _version(path: Path, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(".")[:3])
    except ValueError as error:
        raise CheckpointError(f"The version of SevenNet in {path} must be numbers, not {show(text)}.") from error
