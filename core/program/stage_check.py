"""Hold one stage against another that should compute the same."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from halocline.errors import KernelError
from halocline.model.stage import Stage, State
from halocline.program.evaluate import stage_may_be_constant, vector_jacobian_product
from halocline.program.inputs import EdgeInputs, ProgramInputs

#: The largest value counts as this at least, so that values which cancel are not compared with themselves.
FLOOR = 1e-3


def require_same_stage(
    plain: Stage,
    other: Stage,
    cases: Iterable[tuple[State, ProgramInputs]],
    tolerance: float,
    *,
    moving: bool = True,
) -> float:
    """Compare what two stages write, and what their vector-Jacobian products are.

    Args:
        plain: the definition.
        other: reads the same state.
        cases: state and edges, as `stage_example.stage_inputs` makes them.
        tolerance: largest difference, relative to the largest value of a tensor.
        moving: whether the state can depend on positions; see `stage_example.finds_moving_state`. Where it cannot,
            nobody asks for products by it, and they are not compared.

    Returns:
        The largest difference there is, relative likewise.

    Raises:
        KernelError: they differ by more, and in what.
    """
    worst = 0.0
    for state, inputs in cases:
        expected, found = (_evaluated(stage, state, inputs, moving=moving) for stage in (plain, other))
        if set(found) != set(expected):
            raise KernelError(f"it writes {sorted(found)} instead of {sorted(expected)}")
        for name, reference in expected.items():
            off = _difference(name, found[name], reference)
            if not off <= tolerance:
                raise KernelError(
                    f"its {name} for {inputs.levels[0]} atoms differ by {off:.1e} of the largest value, where "
                    f"{tolerance:.0e} is allowed"
                )
            worst = max(worst, off)
    return worst


def _difference(name: str, found: Tensor, reference: Tensor) -> float:
    if found.shape != reference.shape or found.dtype != reference.dtype:
        expected = f"{tuple(reference.shape)} {reference.dtype}"
        raise KernelError(f"its {name} are {tuple(found.shape)} {found.dtype} instead of {expected}")
    if not reference.numel():
        return 0.0
    scale = max(FLOOR, float(reference.abs().max()))
    return float((found - reference).abs().max()) / scale


def _evaluated(stage: Stage, state: State, inputs: ProgramInputs, *, moving: bool) -> dict[str, Tensor]:
    """Values by name, and the products ``by NAME`` for cotangents that no symmetry makes vanish."""
    hops, named = stage.spec.hops, state.named()
    floats = {name: x.detach() for name, x in named.items() if x.is_floating_point()}
    leaves = {name: x.requires_grad_(True) for name, x in floats.items()} if moving else {}
    vectors = inputs.vectors.detach().requires_grad_(True)
    blocks = inputs.blocks(stage.spec.neighbours, range(hops - 1, -1, -1), vectors)
    written = stage(State.of({**named, **leaves}), *blocks).named()
    results = {name: values for name, values in written.items() if values.is_floating_point()}
    products = vector_jacobian_product(
        results,
        {name: _wave(values) for name, values in results.items()},
        leaves | ({"vectors": vectors} if hops else {}),
        f"Outputs of the stage {type(stage).__name__}",
        constant=partial(stage_may_be_constant, named, vectors if hops else None),
    )
    if hops:
        products["vectors"] = _of_pairs(products["vectors"], inputs)
    values = {name: values.detach() for name, values in written.items()}
    return {**values, **{f"products by {name}": product for name, product in products.items()}}


def _of_pairs(gradients: Tensor, inputs: ProgramInputs) -> Tensor:
    """What gradients mean for forces: two opposite edges have one vector, and either may carry the derivative."""
    opposite = inputs.opposite if isinstance(inputs, EdgeInputs) else None
    if opposite is None:
        return gradients
    nothing = gradients.new_zeros((1, 3))
    return gradients - torch.cat([gradients, nothing]).index_select(0, opposite)


def _wave(values: Tensor) -> Tensor:
    count = torch.arange(1, values.numel() + 1, dtype=torch.float64, device=values.device)
    return count.sin().view(values.shape).to(values.dtype)
