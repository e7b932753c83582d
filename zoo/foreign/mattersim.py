"""Models as MatterSim keeps them: one ``.pth`` file."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from halocline.errors import CheckpointError
from halocline.zoo.cache import digest
from halocline.zoo.foreign.constants import mattersim_coefficients
from halocline.zoo.foreign.hyperparameters import COUNT, LENGTH, UNUSED, only, read_hyperparameters
from halocline.zoo.foreign.mattersim_layout import mattersim_layout
from halocline.zoo.foreign.model import ForeignModel, check_blocks, check_tensors, show
from halocline.zoo.foreign.unpickle import read_torch_file

_M3GNET = {
    **dict.fromkeys(("num_blocks", "units", "max_z"), COUNT),
    "max_l": only(4)._replace(kept=True),
    "max_n": only(4)._replace(kept=True),
    "cutoff": LENGTH,
    "threebody_cutoff": LENGTH,
    "device": UNUSED,  # where it was trained
}


def read_mattersim(path: Path) -> ForeignModel:
    """Read an M3GNet of MatterSim. The states of its training, which lie in the same file, are left behind.

    Args:
        path: the ``.pth`` file.

    Returns:
        Config and tensors under MatterSim's names, with the constants of its bases. The released files lack
        ``sbf.coef``, which is added.

    Raises:
        CheckpointError: it is no such file, is damaged or hostile, or holds a model that is not known here.
    """
    content = read_torch_file(path)
    if not isinstance(content, dict) or not {"model_name", "model_args", "model"} <= set(content):
        raise CheckpointError(
            f"{path} is not a model of MatterSim: it must have model_name, model_args and model."
        )
    if content["model_name"] != "m3gnet":
        name = show(content["model_name"])
        raise CheckpointError(f"{path} holds a model {name}; only 'm3gnet' is known here.")
    config = read_hyperparameters(path, content["model_args"], _M3GNET)
    tensors = content["model"]
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f"The part 'model' of {path} must hold tensors by name.")
    tensors.setdefault("sbf.coef", mattersim_coefficients())
    check_blocks(path, tensors, config["num_blocks"])
    check_tensors(path, tensors, mattersim_layout(config))
    if float(tensors["rbf.r_max"]) != config["cutoff"]:
        raise CheckpointError(f"rbf.r_max in {path} is {float(tensors['rbf.r_max'])} Å, not {config['cutoff']} Å.")
    facts = {"files": {path.name: digest(path)}, "model": "M3GNet"}
    if isinstance(content.get("description"), str):
        facts["description"] = content["description"]
    return ForeignModel(dialect="mattersim", config=config, tensors=tensors, facts=facts)
