"""What reads sums stays behind them: a fault of TorchInductor's scheduler, mended from outside.

Sums by scatter are written in place, into zeros; what reads them is told from what reads zeros by a new name.
Where the scheduler of torch 2.13 fuses loops over (n · k) numbers with loops over (n, k), it works out again what
is read (`SchedulerNode.recompute_size_and_body`), and takes up new names only where the node waits for something
that it does not read as well. Others then read zeros, before the sums are there.
"""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def reads_after_writes() -> Any:
    """A pass before fusion that has every node wait by name for what was written in place and it reads.

    Torch's compiler is imported here, so that nothing else needs it.
    """
    from torch._inductor import custom_graph_pass
    from torch._inductor.dependencies import StarDep

    # Torch 2.11 has no base for passes of the scheduler: it takes them, and keeps no programs made with one.
    base: Any = getattr(custom_graph_pass, "CustomSchedulerPass", custom_graph_pass.CustomGraphPass)

    class ReadsAfterWrites(base):  # type: ignore[misc]
        def __call__(self, nodes: list[Any]) -> list[Any]:
            for node in nodes:
                read = {dependency.name for dependency in node.read_writes.reads}
                for name in sorted(read & set(node.mutation_renames.values())):
                    node.add_fake_dep(StarDep(name))
            return nodes

        def uuid(self) -> Any:
            """Programs that torch keeps without this are not taken for those with it."""
            return "halocline.reads-after-writes.1"

    return ReadsAfterWrites()
