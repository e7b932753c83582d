"""Run a backbone's stages over a part: the definition that every compiled program must reproduce."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import torch
from torch import Tensor

from halocline.context import in_evaluation_context
from halocline.errors import BackboneError, UsageError
from halocline.model.backbone import Backbone, Output
from halocline.model.pooled import POOLED_WEIGHTS
from halocline.model.stage import Stage, State
from halocline.program.inputs import ProgramInputs, ProgramOutputs

_engine: Final = torch.autograd.Variable._execution_engine


def atom_energies(backbone: Backbone, inputs: ProgramInputs, vectors: Tensor) -> Tensor:
    """Energies (n_0,) of the owned atoms in eV; arguments and errors as for `atom_outputs`."""
    return atom_outputs(backbone, inputs, vectors)[Output.ENERGIES]


def atom_outputs(
    backbone: Backbone,
    inputs: ProgramInputs,
    vectors: Tensor,
    *,
    run: Callable[[Stage, State, int], State] | None = None,
) -> dict[Output, Tensor]:
    """All declared outputs (n_0, ...) of the owned atoms, differentiable by ``vectors`` and the parameters.

    Stages run from the outermost hop level inwards, each on the prefix that the later ones still need.

    Args:
        backbone: in the dtype and on the device of ``vectors``.
        inputs: a part with as many hop levels as the backbone declares.
        vectors: [..., 3] in Å, usually ``inputs.vectors`` or a copy that requires a gradient.
        run: gives what a stage writes, from the state that it reads and the level that it writes; by default calls
            the stage with its blocks.

    Raises:
        UsageError: the part was cut with fewer or more hops.
        BackboneError: no readout returns what is declared, or a layer does not find what it declares to read.
    """
    level = len(inputs.levels) - 1
    if level != backbone.hops:
        raise UsageError(
            f"{backbone.name!r} needs a halo of {backbone.hops} hops, but the part has one of {level}; "
            "cut it with the hops that the backbone declares."
        )
    if run is None:
        run = partial(_run, inputs, vectors)
    state = inputs.first_state()
    found: dict[Output, Tensor] = {}
    readouts, list_of_edges = backbone.readouts, None
    for depth, stage in enumerate((backbone.embed, *backbone.layers)):
        if stage.spec.hops:
            if state.edges and stage.spec.neighbours != list_of_edges:
                raise BackboneError(
                    f"Layer {depth - 1} of {backbone.name!r} is given {', '.join(state.edges)} of the edges of "
                    f"{list_of_edges}, but its own are those of {stage.spec.neighbours}; return no values of "
                    "edges to a stage of another rule."
                )
            list_of_edges = stage.spec.neighbours
            _require_edge_state(backbone, depth, stage, state)
        assert isinstance(stage, Stage)
        level -= stage.spec.hops
        state = run(stage, state, level)
        if depth in readouts:
            readout = readouts[depth]
            seen = state.first(inputs.levels[readout.spec.hops])
            result = run(readout, seen, 0)
            for output in backbone.outputs:
                if output in result.atoms:
                    values = result.atoms[output]
                    found[output] = found[output] + values if output in found else values
    if Output.POOLED in found:
        weights = inputs.conditions[POOLED_WEIGHTS][: inputs.levels[0]]
        products = (found[Output.POOLED] * weights).sum(-1)
        found[Output.ENERGIES] = found[Output.ENERGIES] + products if Output.ENERGIES in found else products
    if missing := [output for output in backbone.outputs if output not in found]:
        raise BackboneError(f"No readout of {backbone.name!r} returns the {missing[0]} that it declares.")
    return {output: found[output] for output in backbone.outputs}


def _require_edge_state(backbone: Backbone, depth: int, stage: Stage, state: State) -> None:
    """Edges of other receivers are within one hop only if the layer before wrote their values; see `StageSpec`."""
    missing = [name for name in stage.spec.edge_state if name not in state.edges]
    if missing and stage.spec.hops < 2:
        raise BackboneError(
            f"Layer {depth - 1} of {backbone.name!r} reads {', '.join(missing)} of edges that end at other atoms, "
            "which the layer before does not return; let it return them, or declare 2 hops."
        )


@in_evaluation_context
def energies_and_gradients(
    backbone: Backbone, inputs: ProgramInputs, *, differentiable: bool = False
) -> ProgramOutputs:
    """Evaluate the whole program: what it says of atoms, and the gradient of energies by every edge vector.

    Args:
        backbone: in the dtype and on the device of the inputs.
        inputs: see `ProgramInputs`.
        differentiable: keep the graph, to train on forces.

    Raises:
        BackboneError: there are edges and declared hops, and the energies have lost their dependence on them.
    """
    inputs = inputs.usable()
    vectors = inputs.vectors.detach().requires_grad_(backbone.derives_forces)
    energies, *others = atom_outputs(backbone, inputs, vectors).values()
    if not differentiable:
        others = [values.detach() for values in others]
    if not backbone.derives_forces:
        return ProgramOutputs(
            energies if differentiable else energies.detach(), torch.zeros_like(inputs.vectors), *others
        )
    gradients = vector_jacobian_product(
        {"energies": energies},
        {"energies": inputs.seeds},
        {"vectors": vectors},
        f"Energies of {backbone.name!r}",
        constant=lambda: not backbone.hops or not vectors.numel(),
        differentiable=differentiable,
    )["vectors"]
    return ProgramOutputs(energies if differentiable else energies.detach(), gradients, *others)


def _run(inputs: ProgramInputs, vectors: Tensor, stage: Stage, state: State, level: int) -> State:
    levels = range(level + stage.spec.hops - 1, level - 1, -1)
    return stage(state, *inputs.blocks(stage.spec.neighbours, levels, vectors))


def vector_jacobian_product(
    written: Mapping[str, Tensor],
    cotangents: Mapping[str, Tensor],
    read: Mapping[str, Tensor],
    what: str,
    *,
    constant: Callable[[], bool],
    differentiable: bool = False,
) -> dict[str, Tensor]:
    """Cotangents of what was read, by name and shaped like it; zero where nothing written depends on it.

    Where nothing written depends on anything read, torch would give zeros as well, and forces would vanish without
    a word. Whoever calls knows whether that can be, and is asked if it happens.

    Args:
        written: floats, some of which may depend on what was read.
        cotangents: of some of them, like them.
        read: floats that require gradients.
        what: was written, for messages.
        constant: says whether it may depend on nothing that was read.
        differentiable: keep the graph.

    Raises:
        BackboneError: nothing depends on anything, although it has to.
    """
    reached = [name for name in cotangents if written[name].requires_grad]
    products: tuple[Tensor | None, ...] = (None,) * len(read)
    if reached and read:
        # What `torch.autograd.grad` ends in. Before that it compares shapes of cotangents as symbols, for which it
        # imports sympy, half a second at the start of every command; the engine refuses wrong shapes by itself.
        products = _engine.run_backward(
            tuple(written[name] for name in reached),
            tuple(cotangents[name] for name in reached),
            differentiable,  # keep the graph
            differentiable,  # create that of the products
            tuple(read.values()),
            allow_unreachable=True,
            accumulate_grad=False,
        )
    if cotangents and all(product is None for product in products) and not constant():
        raise BackboneError(
            f"{what} do not depend on the positions of neighbours, although there are some: no force could be "
            "told. Remove what ends the derivative, such as detach(), torch.no_grad() or .data, from its stages."
        )
    return {
        name: torch.zeros_like(leaf) if product is None else product
        for (name, leaf), product in zip(read.items(), products, strict=True)
    }


def stage_may_be_constant(read: Mapping[str, Tensor], vectors: Tensor | None) -> bool:
    """Whether a stage may write floats that depend on none of those that it reads.

    It may look up something by species, which has no derivative, or find nothing there to read.

    Args:
        read: the state that it is given.
        vectors: of its edges; None without hops.
    """
    floats = [
        *(values for values in read.values() if values.is_floating_point()),
        *([] if vectors is None else [vectors]),
    ]
    return len(floats) < len(read) + (vectors is not None) or not any(values.numel() for values in floats)
