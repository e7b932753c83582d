"""What a backbone declares must hang together, before anything can be computed from it."""

from __future__ import annotations

import torch
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from halocline.aggregation import Form
from halocline.errors import UnknownElementError
from halocline.model import Backbone, Output, Stage
from halocline.testing.report import Failure, NotApplicable, Remark
from halocline.testing.subject import Subject


def check_declaration(subject: Subject) -> None:
    """Names, species, stages, neighbours, forms, outputs and dtypes are as the interface says.

    Raises:
        Failure: something is declared otherwise.
        Remark: a form is missing that some executors need.
    """
    backbone = subject.backbone
    if not isinstance(backbone, Backbone):
        raise Failure(f"{type(backbone).__name__} is no halocline.model.Backbone.")
    _check_species(backbone)
    _check_stages(backbone)
    _check_dtypes(backbone)
    _ = backbone.neighbours  # raises if stages disagree
    outputs = backbone.outputs
    if outputs[:1] != (Output.ENERGIES,) or not all(isinstance(output, Output) for output in outputs):
        raise Failure(f"The outputs are {outputs}; let energies come first, and name them by `Output`.")
    if not subject.forms:
        raise Failure("The stages have no form in common.")
    if missing := [form.value for form in Form if form not in subject.forms]:
        raise Remark(f"Not all stages work on the form {missing[0]!r}, which some executors need.")


def _check_species(backbone: Backbone) -> None:
    species = backbone.species
    bad = [symbol for symbol in species if symbol not in atomic_numbers or symbol == "X"]
    if not isinstance(species, tuple) or not species or bad or len(set(species)) != len(species):
        raise Failure(f"The species must be a tuple of different chemical symbols, not {species!r}.")


def _check_stages(backbone: Backbone) -> None:
    depths = backbone.readouts
    if not depths or not all(0 <= depth <= len(backbone.layers) for depth in depths):
        raise Failure(f"Readouts come after 0 to {len(backbone.layers)} layers, not after {list(depths)}.")
    for name, stage in backbone.stages():
        if not isinstance(stage, Stage):
            raise Failure(f"{name} is a {type(stage).__name__}, not a halocline.model.Stage.")
        if (stage.spec.neighbours is None) != (stage.spec.hops == 0):
            raise Failure(f"{name} must declare neighbours exactly if it declares hops.")


def _check_dtypes(backbone: Backbone) -> None:
    tensors = [*backbone.named_parameters(), *backbone.named_buffers()]
    for name, tensor in tensors:
        if tensor.is_floating_point() and tensor.dtype != torch.float64:
            raise Failure(f"{name} is {tensor.dtype}; backbones are built in float64 and cast from outside.")


def check_species(subject: Subject) -> None:
    """A structure with a foreign element raises UnknownElementError; one of each own element does not.

    Raises:
        Failure: the structure is evaluated.
        NotApplicable: the model knows every element.
    """
    own = subject.backbone.species
    for symbol in own:
        subject.potential()(Atoms([symbol], info=subject.samples.states), dtype="float64", device="cpu")
    foreign = [symbol for symbol in chemical_symbols[1:] if symbol not in own]
    if not foreign:
        raise NotApplicable("The model knows every element.")
    try:
        pair = Atoms([own[0], foreign[0]], positions=[[0, 0, 0], [0, 0, 1]], info=subject.samples.states)
        subject.potential()(pair, device="cpu")
    except UnknownElementError:
        return
    raise Failure(f"{foreign[0]} is evaluated although the model was made for {', '.join(own)}.")
