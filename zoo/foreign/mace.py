"""Models as MACE keeps them: a pickled PyTorch module, of which nothing is run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from torch import Tensor

from halocline.errors import CheckpointError
from halocline.zoo.cache import digest
from halocline.zoo.foreign.mace_layout import mace_layout
from halocline.zoo.foreign.model import ForeignModel, check_blocks, check_tensors, show, show_name
from halocline.zoo.foreign.modules import attribute, modules_of, part, tensors_of
from halocline.zoo.foreign.unpickle import ForeignObject, read_torch_objects

_MODELS = ("ScaleShiftMACE", "MACE")
_BLOCKS = tuple(f"RealAgnostic{kind}InteractionBlock" for kind in ("", "Residual", "Density", "DensityResidual"))

#: Choices of the whole model of which one value is implemented; files of older versions lack some.
_ONLY = {
    "apply_cutoff": True,
    "use_agnostic_product": False,
    "use_so3": False,
    "use_last_readout_only": False,
    "use_embedding_readout": False,
    "use_edge_irreps_first": False,
    "edge_irreps": None,
    "embedding_specs": None,
}

#: Far more than any model has; what is listed for each degree and power stays short.
_MOST = {"max_ell": 12, "correlation": 8}

#: A cutoff of the repulsion, which version 0.3.6 keeps and does not use: there, too, covalent radii end it.
_UNREAD = ("pair_repulsion_fn.r_max", "pair_repulsion_fn.cutoff.")

#: More than any model has.
_MOST_HEADS = 100

#: Of a list in a message.
_SHOWN = 4

#: The activation, and e3nn's function around it; the second moment of a wrapped function is one.
_ACTIVATION, _WRAPPED = "torch.nn.functional.silu", "e3nn.math._normalize_activation.normalize2mom"


def read_mace(path: Path) -> ForeignModel:
    """Read a model of MACE. Its classes are not needed, and nothing in the file is called.

    Args:
        path: what ``torch.save`` made of the model.

    Returns:
        Sizes and choices, read off the tensors and modules, and the tensors under MACE's names.

    Raises:
        CheckpointError: it is no such model, is damaged or hostile, or has parts that are not known here.
    """
    root = read_torch_objects(path)
    if not isinstance(root, ForeignObject) or root.name not in {f"mace.modules.models.{name}" for name in _MODELS}:
        what = show_name(root.name) if isinstance(root, ForeignObject) else show(root)
        raise CheckpointError(f"{path} is not a model of MACE: it must be a {' or a '.join(_MODELS)}, not {what}.")
    _check_choices(path, root)
    tensors = {name: tensor for name, tensor in tensors_of(path, root).items() if _is_kept(name, tensor)}
    try:
        config = _config(path, root, tensors)
    except KeyError as error:
        raise CheckpointError(f"{path} has no tensor {error.args[0]}, which every MACE has.") from error
    for name, most in _MOST.items():
        if config[name] > most:
            raise CheckpointError(f"{path} asks for a {name} of {config[name]}, as no MACE has it.")
    heads = len(config["heads"])
    floats = {
        name: _of_heads(name, tensor, heads) for name, tensor in tensors.items() if tensor.is_floating_point()
    }
    _check_precision(path, floats)
    check_blocks(path, floats, len(config["interactions"]))
    check_tensors(path, floats, mace_layout(config, lambda name: _last(floats.get(name))))
    facts = {"files": {path.name: digest(path)}, "model": config["model"]}
    return ForeignModel(dialect="mace", config=config, tensors=floats, facts=facts)


def _check_choices(path: Path, root: ForeignObject) -> None:
    kinds = {name: _class(module) for name, module in modules_of(path, root)}
    for name, kind in kinds.items():
        if name.count(".") == 1 and name.startswith("interactions.") and kind not in _BLOCKS:
            why = "; models of the kinds MH and OMOL have those" if "NonLinear" in kind else ""
            raise CheckpointError(f"{path} has blocks {show_name(kind)}, which are not known here{why}.")
    for name, value in _ONLY.items():
        found = attribute(root, name, value)
        if found != value:
            raise CheckpointError(f"{path} has {name} = {show(found)}, which is not known here.")
    known = {"bessel_fn": "BesselBasis", "cutoff_fn": "PolynomialCutoff", "distance_transform": "AgnesiTransform"}
    for name, kind in known.items():
        if kinds.get(f"radial_embedding.{name}", kind) != kind:
            raise CheckpointError(
                f"{path} has the {name} {show_name(kinds[f'radial_embedding.{name}'])}; only {kind} is known."
            )


def _check_precision(path: Path, tensors: dict[str, Tensor]) -> None:
    """Refuse weights of several precisions: upstream cannot multiply them, so nothing says which one counts."""
    found: dict[str, str] = {}
    for name, tensor in tensors.items():
        if "weight" in name.rpartition("contractions.")[2]:
            found.setdefault(str(tensor.dtype).removeprefix("torch."), name)
    if len(found) > 1:
        named = " and ".join(f"{dtype} ({name})" for dtype, name in found.items())
        raise CheckpointError(f"The weights in {path} are of several precisions: {named}. Save them in one.")


def _heads(path: Path, root: ForeignObject) -> list[str]:
    """Names of the heads; those of versions up to 0.3.6 know none."""
    heads = attribute(root, "heads", ["Default"])
    if (
        not isinstance(heads, list)
        or not 0 < len(heads) <= _MOST_HEADS
        or not all(isinstance(head, str) and head and head.isprintable() for head in heads)
        or len(set(heads)) < len(heads)
    ):
        named = ", ".join(map(show, heads[:_SHOWN])) if isinstance(heads, list) else show(heads)
        raise CheckpointError(
            f"The heads in {path} must be a list of different names, {_MOST_HEADS} at most, not {named}."
        )
    return heads


def _class(module: ForeignObject) -> str:
    return module.name.rpartition(".")[2]


def _is_kept(name: str, tensor: Tensor) -> bool:
    """Whether a tensor belongs to the function; e3nn has empty offsets, and masks that follow from irreps."""
    last = name.rpartition(".")[2]
    unread = name.startswith(_UNREAD) or ".conv_tp." in name or last == "output_mask" or last.endswith("_zeroed")
    return bool(tensor.numel()) and not unread


def _of_heads(name: str, tensor: Tensor, heads: int) -> Tensor:
    """Energies as a row for each head, scale and shift as a number for each, however versions write one head's."""
    if heads > 1 or tensor.ndim > 2:
        return tensor
    if name == "atomic_energies_fn.atomic_energies":
        return tensor.reshape(1, -1)
    return tensor.reshape(1) if name.startswith("scale_shift.") and tensor.numel() == 1 else tensor


def _last(tensor: Tensor | None) -> int:
    return tensor.shape[-1] if tensor is not None and tensor.ndim else 0


def _config(path: Path, root: ForeignObject, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Sizes from the tensors' names and shapes, choices from the names of the modules."""
    interactions = _numbered(path, root, "interactions")
    readouts = _numbered(path, root, "readouts")
    first = "products.0.symmetric_contractions.contractions"
    heads = _heads(path, root)
    return {
        "model": _class(root),
        "heads": heads,
        "atomic_numbers": _numbers(path, tensors.pop("atomic_numbers")),
        "interactions": [_class(block) for block in interactions],
        "avg_num_neighbors": [_number(path, block, "avg_num_neighbors") for block in interactions],
        "channels": _last(tensors[f"{first}.0.weights_max"]),
        "hidden_lmax": _hidden_degree(tensors, len(interactions)),
        "max_ell": math.isqrt(_square(tensors[f"{first}.0.U_matrix_1"])) - 1,
        "correlation": sum(name.startswith(f"{first}.0.U_matrix_") for name in tensors),
        "num_bessel": tensors["radial_embedding.bessel_fn.bessel_weights"].numel(),
        "num_polynomial_cutoff": _power(path, tensors),
        "r_max": float(tensors["r_max"]),
        "radial_MLP": _hidden_sizes(tensors),
        "MLP_irreps": _units(path, tensors, readouts, len(heads)),
        "distance_transform": "Agnesi" if "radial_embedding.distance_transform.a" in tensors else "None",
        "pair_repulsion": "pair_repulsion_fn.c" in tensors,
        "activation": _activation(path, root),
    }


def _numbered(path: Path, root: ForeignObject, name: str) -> list[ForeignObject]:
    """The modules of a list."""
    table = attribute(part(path, root, name), "_modules", {})
    modules = list(table.values()) if isinstance(table, dict) else []
    if not modules or not all(isinstance(module, ForeignObject) for module in modules):
        raise CheckpointError(f"{path} has no list of {name}.")
    return modules


def _units(path: Path, tensors: dict[str, Tensor], readouts: list[ForeignObject], heads: int) -> int:
    """Hidden units of each head in the last readout, whose outputs read those of all heads."""
    if not _nonlinear(path, readouts):
        return 0
    name = f"readouts.{len(readouts) - 1}.linear_2.weight"
    units, rest = divmod(tensors[name].numel(), heads**2)
    if rest or not units:
        raise CheckpointError(
            f"{name} in {path} has {tensors[name].numel()} numbers, which {heads} heads cannot share."
        )
    return units


def _nonlinear(path: Path, readouts: list[ForeignObject]) -> bool:
    kinds = [_class(readout) for readout in readouts]
    if set(kinds[:-1]) - {"LinearReadoutBlock"} or kinds[-1] not in (
        "LinearReadoutBlock",
        "NonLinearReadoutBlock",
    ):
        raise CheckpointError(
            f"{path} has the readouts {', '.join(map(show_name, kinds[-_SHOWN:]))}; known here are linear ones, "
            "and a NonLinearReadoutBlock as the last."
        )
    return kinds[-1] == "NonLinearReadoutBlock"


def _numbers(path: Path, tensor: Tensor) -> list[int]:
    numbers = [int(number) for number in tensor.flatten()]
    if len(set(numbers)) < len(numbers) or not all(0 < number < 119 for number in numbers):
        raise CheckpointError(f"The atomic numbers in {path} are no different elements.")
    return numbers


def _number(path: Path, block: ForeignObject, name: str) -> float:
    value = attribute(block, name)
    value = float(value) if isinstance(value, Tensor) and value.numel() == 1 else value
    if type(value) not in (int, float) or not 0.0 < value < math.inf:
        raise CheckpointError(f"{name} of a block in {path} must be a positive number, not {show(value)}.")
    return float(value)


def _power(path: Path, tensors: dict[str, Tensor]) -> int:
    """Of both envelopes; versions write it as a whole number or not."""
    powers = {float(tensors.pop("radial_embedding.cutoff_fn.p"))}
    if "pair_repulsion_fn.p" in tensors:
        powers.add(float(tensors.pop("pair_repulsion_fn.p")))
    (power, *others) = powers
    if others or not (power.is_integer() and 0 < power < 100):
        raise CheckpointError(f"The envelopes in {path} must have one whole power, not {sorted(powers)}.")
    return int(power)


def _hidden_degree(tensors: dict[str, Tensor], layers: int) -> int:
    """From the products of the first layer; in models of one layer, nothing is read but scalars."""
    if layers == 1:
        return 0
    name = "products.0.symmetric_contractions.contractions."
    return len({key.removeprefix(name).split(".")[0] for key in tensors if key.startswith(name)}) - 1


def _square(tensor: Tensor) -> int:
    """Components of the features, by the couplings of the first power: (M, 1)."""
    return tensor.shape[0] if tensor.ndim else 0


def _hidden_sizes(tensors: dict[str, Tensor]) -> list[int]:
    name = "interactions.0.conv_tp_weights.layer"
    count = sum(key.startswith(name) for key in tensors)
    return [_last(tensors[f"{name}{number}.weight"]) for number in range(count - 1)]


def _activation(path: Path, root: ForeignObject) -> float:
    """What SiLU is multiplied by, the same wherever it is used."""
    factors = set()
    for name, module in modules_of(path, root):
        if module.name == _WRAPPED:
            function, factor = attribute(module, "f"), attribute(module, "cst")
            if function is None or ".".join(function) != _ACTIVATION:
                raise CheckpointError(
                    f"The activation {show(name)} in {path} is not SiLU, which alone is known here."
                )
            factors.add(factor)
    if len(factors) != 1 or not all(type(factor) is float and 0.0 < factor < math.inf for factor in factors):
        raise CheckpointError(f"{path} does not say what its activations are normalised by.")
    return float(factors.pop())
