"""The frame around a program: positions in, forces and virial out, still without scatter.

This is what an exported model computes: a program in any language needs a neighbour table and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from halocline.aggregation import Form
from halocline.context import in_evaluation_context
from halocline.errors import LoweringError
from halocline.lowering.arguments import describe_condition, describe_output
from halocline.lowering.check import require_equal
from halocline.lowering.manifest import Manifest, Value
from halocline.lowering.program import Program
from halocline.lowering.rules import custom_operators
from halocline.lowering.trace import trace
from halocline.model.backbone import Backbone, reference_table
from halocline.model.chain import chain
from halocline.model.condition import HEAD
from halocline.partition import whole
from halocline.program import FrozenModel, Precision, TableInputs, energies_and_gradients
from halocline.program.geometry import edge_vectors, virial_from_gradients
from halocline.program.index_sets import named_index_sets, named_rules
from halocline.program.layout import lay_out

_DOUBLE = "float64"
_INPUTS = (
    Value("positions", _DOUBLE, ("N", 3), "Å", "of the atoms"),
    Value("cell", _DOUBLE, (3, 3), "Å", "rows are lattice vectors; zeros where there is none"),
    Value("species", "int64", ("N",), "", "atomic numbers"),
    Value("neighbours", "int64", ("N", "k"), "", "neighbours of each atom; the last slot of each row is padding"),
    Value(
        "shifts", _DOUBLE, ("N", "k", 3), "", "whole numbers of lattice vectors added to the neighbour's position"
    ),
    Value("mask", _DOUBLE, ("N", "k"), "", "1 for a neighbour, 0 for padding"),
    Value(
        "transposed", "int64", ("N", "t"), "", "flat slots of neighbours that hold each atom; k - 1 where padded"
    ),
)
_ENERGIES = (
    Value(
        "energies", _DOUBLE, ("N",), "eV", "of the atoms, reference energies included; NaN for unknown elements"
    ),
    Value("energy", _DOUBLE, (), "eV", "their sum"),
)
_DERIVATIVES = (
    Value("forces", _DOUBLE, ("N", 3), "eV/Å", "minus the derivative of the energy by the positions"),
    Value("virial", _DOUBLE, (3, 3), "eV", "derivative of the energy by strain; over the volume it is the stress"),
)


def structure_refusal(backbone: Backbone) -> str:
    """Why a model cannot be one program from positions to forces; empty if it can."""
    if named_rules(backbone.neighbours) or named_index_sets(backbone.neighbours):
        return (
            f"{backbone.name!r} has several lists of neighbours, or index sets; structure programs take one list. "
            "Evaluate the model with a backend instead of exporting it."
        )
    if backbone.pooled_head is not None:
        return (
            f"The energy of {backbone.name!r} follows from a sum over all atoms, which takes two runs: it cannot "
            "be exported as one program from positions to forces."
        )
    return ""


@in_evaluation_context
def lower_structure(frozen: FrozenModel, reference_energies: Mapping[str, float]) -> Program:
    """Turn a model frozen in table form into a program from positions to energy, forces and virial.

    Geometry and sums are float64 whatever the precision of the model.

    Args:
        frozen: in table form.
        reference_energies: chemical symbol → eV, added to the energies with what heads have beyond them.

    Raises:
        LoweringError: the backbone cannot be lowered, or its graph does not reproduce it.
    """
    if frozen.form is not Form.TABLE:
        raise LoweringError("A structure program needs the table form; freeze the backbone with Form.TABLE.")
    if refusal := structure_refusal(frozen.backbone):
        raise LoweringError(refusal)
    table = torch.from_numpy(reference_table(reference_energies, frozen.backbone.head_energies))

    def evaluate(*tensors: Tensor) -> tuple[Tensor, ...]:
        return _evaluate(frozen, table, *tensors)

    told = tuple(describe_condition(each, 1, Precision.FLOAT64) for each in frozen.backbone.conditions)
    inputs = (*_INPUTS, *told)
    names = tuple(value.name for value in inputs)
    graph = trace(frozen, evaluate, names, _example(frozen, 19), free=True, doubles=True)
    for atoms in (7, 1):
        tensors = _example(frozen, atoms)
        case = "one atom" if atoms == 1 else f"{atoms} atoms"
        require_equal(graph, tensors, evaluate(*tensors), frozen, case)
    others = tuple(
        describe_output(*each, "N", Precision.FLOAT64) for each in list(frozen.backbone.shapes.items())[1:]
    )
    outputs = (*_ENERGIES, *(_DERIVATIVES if frozen.backbone.derives_forces else ()), *others)
    manifest = Manifest.of(
        frozen,
        "structure",
        inputs,
        outputs,
        reference_energies=dict(reference_energies),
        operators=custom_operators(graph),
    )
    return Program(graph, manifest)


def _evaluate(
    frozen: FrozenModel,
    reference: Tensor,
    positions: Tensor,
    cell: Tensor,
    species: Tensor,
    neighbours: Tensor,
    shifts: Tensor,
    mask: Tensor,
    transposed: Tensor,
    *told: Tensor,
) -> tuple[Tensor, ...]:
    """Energies (N,), energy (), forces (N, 3) and virial (3, 3) if those are derivatives, others; all float64."""
    senders = positions.index_select(0, neighbours.reshape(-1)).view(*neighbours.shape, 3)
    vectors = edge_vectors(senders, positions[:, None, :], shifts, cell) * mask[:, :, None]
    dtype = frozen.precision.torch
    conditions = {
        declared.name: one.to(dtype if declared.kind == "real" else torch.int64).expand(species.shape[0])
        for declared, one in zip(frozen.backbone.conditions, told, strict=True)
    }
    inputs = TableInputs(
        species=species,
        vectors=vectors.to(dtype),
        seeds=mask.new_ones(species.shape[0], dtype=dtype),
        levels=(species.shape[0],) * (frozen.backbone.hops + 1),
        mask=mask.to(dtype),
        conditions=conditions,
        neighbours=neighbours,
        transposed=transposed,
    )
    outputs = energies_and_gradients(frozen.backbone, inputs)
    places = species if len(reference) == 1 else conditions[HEAD] * reference.shape[1] + species
    energies = outputs.energies.double() + reference.flatten().index_select(0, places)
    others = (values.double() for values in outputs.others)
    if not frozen.backbone.derives_forces:
        return energies, energies.sum(), *others
    gradients = outputs.gradients.double() * mask[:, :, None]
    pulls = gradients.reshape(-1, 3).index_select(0, transposed.reshape(-1)).view(*transposed.shape, 3)
    forces = gradients.sum(1) - pulls.sum(1)
    virial = virial_from_gradients(gradients.reshape(-1, 3), vectors.reshape(-1, 3))
    return energies, energies.sum(), forces, virial, *others


def _example(frozen: FrozenModel, atoms: int) -> tuple[Tensor, ...]:
    """A chain of atoms, as inputs of the structure program."""
    graph = chain(frozen.backbone, atoms, seed=3)
    part = whole(atoms, graph.edges, frozen.backbone.hops)
    inputs = lay_out(graph, part, Form.TABLE, frozen.precision)
    assert isinstance(inputs, TableInputs)
    assert inputs.mask is not None
    mask = inputs.mask.double()
    return (
        torch.from_numpy(graph.structure.positions),
        torch.from_numpy(graph.structure.cell),
        inputs.species,
        inputs.neighbours,
        mask.new_zeros((*mask.shape, 3)),
        mask,
        inputs.transposed,
        *(torch.from_numpy(values[:1]) for values in graph.structure.conditions.values()),
    )
