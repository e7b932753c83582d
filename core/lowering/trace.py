"""Record a function of tensors as a graph of ATen operations, derivatives included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental import _config as symbolic_shapes
from torch.fx.experimental.proxy_tensor import make_fx

from halocline.errors import BackboneError, LoweringError
from halocline.lowering.constants import lift_constants
from halocline.lowering.decompositions import decompositions
from halocline.lowering.origins import RecordOrigins
from halocline.lowering.rules import check_rules
from halocline.program import FrozenModel, Precision
from halocline.program.operators import composites

_ASSERTIONS = frozenset({torch.ops.aten._assert_async.default, torch.ops.aten._assert_async.msg})


def trace(
    frozen: FrozenModel,
    function: Callable[..., tuple[Tensor, ...]],
    names: Sequence[str],
    examples: Sequence[Tensor],
    *,
    free: bool,
    doubles: bool = False,
) -> fx.GraphModule:
    """Record a function.

    Args:
        frozen: whose backbone the function runs; its name, form and precision decide the rules.
        function: of tensors only; it may call ``torch.autograd.grad``.
        names: of its arguments.
        examples: its arguments, all sizes at least 2, and different sizes different if they are to be free.
        free: sizes are symbols; otherwise they are those of the examples.
        doubles: float64 is allowed whatever the precision, as in frames around a whole program.

    Raises:
        LoweringError: the backbone looks at values or sizes, or uses operations that no compiler can take.
    """

    def located(*tensors: Tensor) -> tuple[Tensor, ...]:
        with RecordOrigins():
            return function(*tensors)

    record = make_fx(
        located,
        decomposition_table=decompositions() | ({} if frozen.capabilities.custom_operators else composites()),
        tracing_mode="symbolic" if free else "fake",
        _allow_non_fake_inputs=True,  # the weights
        _error_on_data_dependent_ops=True,
    )
    name = frozen.backbone.name
    try:
        # The cache of what operations do to shapes costs a quarter more than it saves where shapes are symbols.
        with whatever_the_sizes(), torch._dynamo.config.patch(fake_tensor_cache_enabled=False):
            graph = record(*examples)
    except BackboneError:  # which names the fault already
        raise
    except Exception as error:
        raise LoweringError(
            f"The backbone {name!r} cannot be lowered: {error}. Its stages must be tensor operations that do not "
            "depend on values."
        ) from error
    _name_arguments(graph, names)
    make_plain(graph, frozen.precision, name)
    check_rules(graph, frozen, doubles=doubles)
    return graph


@contextmanager
def whatever_the_sizes() -> Iterator[None]:
    """Within this block nothing is recorded that holds for the sizes of the examples alone.

    Equal sizes are not taken for the same size. Products of three tensors or more are taken from left to right:
    where opt_einsum is installed, torch would choose an order for the sizes that it sees, and reshape to those.
    """
    same_sizes = symbolic_shapes.patch(use_duck_shape=False)  # type: ignore[attr-defined]
    with same_sizes, torch.backends.opt_einsum.flags(enabled=False):
        yield


def make_plain(graph: fx.GraphModule, precision: Precision, backbone: str) -> None:
    """Leave nothing but values that follow from values: no assertions, no writing, no inexact numbers.

    Args:
        graph: as recorded.
        precision: of its numbers.
        backbone: whose graph it is, for messages.

    Raises:
        LoweringError: an operation takes an inexact number in a place where no tensor fits.
    """
    for node in graph.graph.nodes:
        if node.target in _ASSERTIONS:  # about values, which are the caller's; the eager model looks at them
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    replace_in_place(graph)
    lift_constants(graph, precision, backbone)


def _name_arguments(graph: fx.GraphModule, names: Sequence[str]) -> None:
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    for node, name in zip(placeholders, names, strict=True):
        # Any other value that happens to have this name moves out of the way.
        node._rename(name)
        node.target = name
    graph.recompile()


def replace_in_place(graph: fx.GraphModule) -> None:
    """Replace ``op_(x, …)`` by ``op(x, …)``, whose result is read wherever x was read later on.

    That is the same where x has memory of its own and nobody looks at it through a view. Elsewhere the operation
    stays, and is refused with everything else that a program may not contain.
    """
    order = {node: place for place, node in enumerate(graph.graph.nodes)}
    for node in list(graph.graph.nodes):
        if not isinstance(node.target, torch._ops.OpOverload) or not node.target._schema.is_mutable:
            continue
        (written, *_) = node.args
        if not isinstance(written, fx.Node) or not _is_new(written) or any(map(_is_view, written.users)):
            continue
        result = _without_writing(node, written)
        if result is not None:
            for reader in list(written.users):
                if order[reader] > order[node]:
                    reader.replace_input_with(written, result)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def _without_writing(node: fx.Node, written: fx.Node) -> fx.Node | None:
    """The value that the operation leaves in ``written``, made without writing; None if there is no way."""
    name = node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    if name == "copy_":
        source = node.args[1]
        if not isinstance(source, fx.Node) or not _are_alike(source.meta["val"], written.meta["val"]):
            return None
        node.replace_all_uses_with(source)
        node.graph.erase_node(node)
        return source
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
    overload = node.target._overloadname  # type: ignore[union-attr]
    if packet is None or overload not in packet.overloads():
        return None
    node.target = getattr(packet, overload)
    return node


def _are_alike(first: Any, second: Any) -> bool:
    """Whether two tensors have one dtype and, for all that is known of them, one shape."""
    return isinstance(first, Tensor) and first.dtype == second.dtype and list(first.shape) == list(second.shape)


def _is_new(node: fx.Node) -> bool:
    """Whether a value has memory of its own: it is no input, no weight and no view."""
    return isinstance(node.target, torch._ops.OpOverload) and not _is_view(node)


def _is_view(node: fx.Node) -> bool:
    """Whether a value shares memory with an argument that it does not write to."""
    if not isinstance(node.target, torch._ops.OpOverload) or node.target._schema.is_mutable:
        return False
    return any(result.alias_info is not None for result in node.target._schema.returns)
