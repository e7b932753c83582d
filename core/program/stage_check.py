"""Hold one stage against another that should compute the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from halocline.errors import KernelError
from halocline.model.stage import Stage, State
from halocline.program.analytic import linearized, pulled_back
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
        expected = _evaluated(plain, state, inputs, moving=moving)
        for found in _ways(other, state, inputs, moving=moving):
            worst = max(worst, _require_same(expected, found, inputs, tolerance))
    return worst


def _ways(stage: Stage, state: State, inputs: ProgramInputs, *, moving: bool) -> Iterator[dict[str, Tensor]]:
    """What a stage writes, and its products: by autograd, and without it if it knows them."""
    yield _evaluated(stage, state, inputs, moving=moving)
    found = linearized(stage, state, inputs if stage.spec.hops else None)
    if found is not None:
        written, pull = found
        read = _floats(state.named()) if moving else {}
        results = _floats(written.named())
        vectors = inputs.vectors if stage.spec.hops else None
        products = pulled_back(pull, read, vectors, _waves(results), by_state=moving)
        yield _by_name(written.named(), products, inputs)


def _require_same(
    expected: dict[str, Tensor], found: dict[str, Tensor], inputs: ProgramInputs, tolerance: float
) -> float:
    if set(found) != set(expected):
        raise KernelError(f"it writes {sorted(found)} instead of {sorted(expected)}")
    worst = 0.0
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
    leaves = {name: x.detach().requires_grad_(True) for name, x in _floats(named).items()} if moving else {}
    vectors = inputs.vectors.detach().requires_grad_(True)
    blocks = inputs.blocks(stage.spec.neighbours, range(hops - 1, -1, -1), vectors)
    written = stage(State.of({**named, **leaves}), *blocks).named()
    results = _floats(written)
    products = vector_jacobian_product(
        results,
        _waves(results),
        leaves | ({"vectors": vectors} if hops else {}),
        f"Outputs of the stage {type(stage).__name__}",
        constant=partial(stage_may_be_constant, named, vectors if hops else None),
    )
    return _by_name(written, products, inputs)


def _by_name(
    written: Mapping[str, Tensor], products: dict[str, Tensor], inputs: ProgramInputs
) -> dict[str, Tensor]:
    if "vectors" in products:
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


def _floats(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: values for name, values in named.items() if values.is_floating_point()}


def _waves(results: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: _wave(values) for name, values in results.items()}


def _wave(values: Tensor) -> Tensor:
    count = torch.arange(1, values.numel() + 1, dtype=torch.float64, device=values.device)
    return count.sin().view(values.shape).to(values.dtype)
