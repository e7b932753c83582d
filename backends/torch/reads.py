"""What reads sums stays behind them: a fault of TorchInductor's scheduler, mended from outside.

Sums by scatter are written in place, into zeros; what reads them is told from what reads zeros by a new name.
Where the scheduler of torch 2.13 fuses loops over (n · k) numbers with loops over (n, k), it works out again what
is read
(`SchedulerNode.recompute_size_and_body`), and takes up new names only where the node waits for something that it
does not read as well. Others then read zeros, before the sums are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from torch._inductor.custom_graph_pass import CustomSchedulerPass

if TYPE_CHECKING:
    from torch._inductor.scheduler import BaseSchedulerNode


@final
class ReadsAfterWrites(CustomSchedulerPass):
    """Has every node that reads what was written in place wait for that in so many words, before any fusion."""

    def __call__(self, nodes: list[BaseSchedulerNode]) -> list[BaseSchedulerNode]:
        """See `CustomSchedulerPass.__call__`."""
        from torch._inductor.dependencies import StarDep

        for node in nodes:
            read = {dependency.name for dependency in node.read_writes.reads}
            for name in sorted(read & set(node.mutation_renames.values())):
                node.add_fake_dep(StarDep(name))
        return nodes

    def uuid(self) -> Any:
        """Programs that torch keeps without this are not taken for those with it."""
        return "halocline.reads-after-writes.1"
