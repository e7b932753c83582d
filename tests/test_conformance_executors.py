"""Executors that go wrong in ways that only the sizes of structures bring out are found by the suite."""

from __future__ import annotations

import pytest

from halocline.backends.torch.executor import TorchExecutor
from halocline.executor import Executor
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.program import ProgramOutputs
from halocline.testing import check_executor


class Changed(Executor):
    """Runs programs as the torch executor does, and changes energies by their size and by how many were run."""

    capabilities = TorchExecutor.capabilities
    device = "cpu"

    def __init__(self, change):
        self.change = change

    @classmethod
    def diagnose(cls):
        return TorchExecutor.diagnose()

    def prepare(self, program):
        run, calls = TorchExecutor("cpu").prepare(program), []

        def session(inputs):
            calls.append(None)
            output = run(inputs)
            changed = self.change(output.energies, len(inputs.species), len(calls))
            return ProgramOutputs(changed, output.gradients)

        return session


FAULTS = {
    "nothing": (lambda energies, atoms, calls: energies, None),
    "halo atoms count": (lambda energies, atoms, calls: energies + (atoms > len(energies)), "summed over parts"),
    "one atom is nothing": (lambda energies, atoms, calls: energies * (atoms > 1), "lone atom"),
    "it wears out": (lambda energies, atoms, calls: energies * (1 + 1e-15 * calls), "after other structures"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_suite_finds(fault):
    change, message = FAULTS[fault]
    kind = registry().load("backbone", "schnet")
    backbone = build_backbone("schnet", kind.example_config(), seed=1)
    (result,) = check_executor(Changed(change), backbone, checks=["results"]).results
    assert result.status == ("passed" if message is None else "failed"), result.message
    assert message is None or message in result.message
