"""What reads sums stays behind them: a fault of TorchInductor's scheduler, mended from outside.

Sums by scatter are written in place, into zeros; what reads them is told from what reads zeros by a new name.
Where the scheduler fuses loops over (n · k) numbers with loops over (n, k), it works out again what is read
(`SchedulerNode.recompute_size_and_body`). Torch 2.11 forgets new names there; 2.12 and 2.13 take them up only
where the node waits for something that it does not read as well. Others read zeros, before the sums are there.
"""

from __future__ import annotations

from functools import cache
from types import MethodType
from typing import Any


@cache
def reads_after_writes() -> Any:
    """A pass before fusion: nodes that read what was written in place know it by its new name ever after.

    Torch's compiler is imported here, so that nothing else needs it.
    """
    from torch._inductor import custom_graph_pass
    from torch._inductor.scheduler import SchedulerNode

    # Torch 2.11 has no base for passes of the scheduler: it takes them, and keeps no programs made with one.
    base: Any = getattr(custom_graph_pass, "CustomSchedulerPass", custom_graph_pass.CustomGraphPass)

    class ReadsAfterWrites(base):  # type: ignore[misc]
        def __call__(self, nodes: list[Any]) -> list[Any]:
            for node in nodes:
                read = {dependency.name for dependency in node.read_writes.reads}
                if isinstance(node, SchedulerNode) and read & set(node.mutation_renames.values()):
                    # Of this one node, not of its class, which is the host's as well.
                    node.recompute_size_and_body = MethodType(_recompute_by_new_names, node)  # type: ignore[method-assign]
            return nodes

        def uuid(self) -> Any:
            """Programs that torch keeps without this are not taken for those with it."""
            return "halocline.reads-after-writes.2"

    return ReadsAfterWrites()


def _recompute_by_new_names(node: Any, *arguments: Any, **named: Any) -> None:
    """What torch does, and new names."""
    type(node).recompute_size_and_body(node, *arguments, **named)
    node.set_read_writes(node.read_writes.rename(node.mutation_renames))
