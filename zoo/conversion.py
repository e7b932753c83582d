"""From a model in the files of another package to a checkpoint, without that package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from halocline.checkpoint import Checkpoint
from halocline.errors import CheckpointError, ZooError
from halocline.files import replacement
from halocline.plugin import registry
from halocline.zoo.cache import seal
from halocline.zoo.download import MODEL_MODE

if TYPE_CHECKING:
    from halocline.potential.potential import Potential
    from halocline.zoo.entry import Reference
    from halocline.zoo.foreign import ForeignModel

#: Rises when conversion gives other files than before: those of earlier versions are then made anew.
VERSION = 2


def format_of(path: Path) -> str:
    """The format of a folder or a file.

    MatGL has folders, Nequix files that begin with JSON, MACE files that begin with a module; plain data are known
    by the names of their tensors.

    Raises:
        ZooError: there is nothing.
        CheckpointError: it is a file of another kind; which kinds are read is said.
    """
    if not path.exists():
        raise ZooError(f"There is no folder or file {path}.")
    from halocline.zoo.foreign.archive import first_name, texts  # here, because its package imports torch
    from halocline.zoo.foreign.jmp import MARK as OF_JMP
    from halocline.zoo.foreign.model import show_name
    from halocline.zoo.foreign.nequix import begins_with_settings
    from halocline.zoo.foreign.orb import MARK as OF_ORB
    from halocline.zoo.foreign.pnnl import CENTRES, CENTRES_OF_PYG
    from halocline.zoo.foreign.sevennet import MARK
    from halocline.zoo.foreign.unpickle import PLAIN_NAMES

    if path.is_dir():
        return "matgl"
    if begins_with_settings(path):
        return "nequix"
    name = first_name(path)
    if name.startswith("mace."):
        return "mace"
    if any(OF_JMP in text for text in texts(path)):  # among objects of training, which may come first
        return "jmp"
    if name in PLAIN_NAMES or not name:
        names = texts(path)
        if MARK in names:
            return "sevennet"
        if any(OF_ORB in text for text in names):
            return "orb"
        if any(text.endswith((CENTRES, CENTRES_OF_PYG)) for text in names):
            return "pnnl"
        return "chgnet" if any(text.startswith("bond_basis_expansion.") for text in names) else "mattersim"
    raise CheckpointError(
        f"{path} holds {show_name(name)}, which is not read. Models in files of torch.save are read of MACE, as "
        "mace-torch saves them whole, of SevenNet, of CHGNet, of MatterSim, of orb-models, of JMP, and of PNNL's "
        "water-cluster work; those of MatGL are folders, and those of Nequix begin with their settings."
    )


def read(form: str, path: Path) -> ForeignModel:
    """Read a model.

    Args:
        form: its format.
        path: a folder for ``matgl``, a file for all others.

    Raises:
        CheckpointError: it is no such model, is damaged or hostile, or is not known here.
    """
    from halocline.zoo.foreign import (  # here, because they import torch
        read_chgnet,
        read_jmp,
        read_mace,
        read_matgl,
        read_mattersim,
        read_nequix,
        read_orb,
        read_pnnl,
        read_sevennet,
    )

    readers = {
        "matgl": read_matgl,
        "mattersim": read_mattersim,
        "mace": read_mace,
        "chgnet": read_chgnet,
        "orb": read_orb,
        "jmp": read_jmp,
        "pnnl": read_pnnl,
        "sevennet": read_sevennet,
        "nequix": read_nequix,
    }
    return readers[form](path)


def store(model: ForeignModel, card: dict[str, Any], path: Path, check: Callable[[Potential], None]) -> None:
    """Convert a model and store it with its digest, or leave everything as it is.

    Args:
        model: as it was read.
        card: of the result.
        path: of the result, in a folder that exists.
        check: called with the potential as it comes from the result; whatever it raises ends the attempt.

    Raises:
        HaloclineError: the model cannot be converted, or is not what it must be.
        OSError: the result cannot be written.
    """
    from halocline.potential.curl import DIRECT_FORCES, NOT_MEASURED  # here, because they import torch
    from halocline.potential.load import build_potential
    from halocline.potential.potential import Potential

    potential = build_potential(_convert(model))
    if not potential.backbone.derives_forces:
        card = card | {DIRECT_FORCES: dict(NOT_MEASURED)}
    if remark := potential.backbone.rank_remark:
        card = card | {"notes": f"{card.get('notes', '')} {remark}".strip()}
    keep(Potential(potential.backbone, potential.reference_energies, card).save, path, check)


def keep(write: Callable[[Path], None], path: Path, check: Callable[[Potential], None]) -> None:
    """Keep a checkpoint with its digest, or leave everything as it is.

    Args:
        write: writes the checkpoint to the path that it is given.
        path: of the result, in a folder that exists.
        check: called with the potential as it comes from the result; whatever it raises ends the attempt.

    Raises:
        HaloclineError: what was written is no checkpoint that can be loaded.
        OSError: the result cannot be written.
    """
    from halocline.potential.load import load  # here, because it imports torch

    with replacement(path, MODEL_MODE) as temporary:
        write(temporary)
        check(load(temporary))
        seal(temporary, path)


def _convert(model: ForeignModel) -> Checkpoint:
    converter: Callable[..., Checkpoint] = registry().load("converter", model.dialect)
    try:
        return converter(model.config, model.tensors)
    except (ArithmeticError, ValueError) as error:  # constants that are finite, and yet none of any basis
        raise ZooError(f"The numbers in the model are none of a {model.dialect} model: {error}.") from error


def check_references(potential: Potential, references: tuple[Reference, ...]) -> None:
    """Evaluate structures whose energies are known.

    Raises:
        ZooError: an energy is another one.
    """
    for reference in references:
        result = potential(reference.atoms(), dtype="float64", device="cpu", head=reference.head)
        energy = result.energy / len(reference.symbols)
        if not abs(energy - reference.energy) <= reference.tolerance:
            raise ZooError(
                f"it gives {energy:.9f} eV per atom for the reference {reference.title!r}, "
                f"where {reference.energy:.9f} is right to {reference.tolerance:g}"
            )
