"""Fits a model by programs of fixed shape: what ``halocline train --backend ipu`` runs."""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from halocline.aggregation import Form
from halocline.backends.ipu.check import require_conformance
from halocline.backends.ipu.executor import require_size
from halocline.backends.ipu.interpreter import Interpreter
from halocline.backends.ipu.process import RunnerProcess
from halocline.backends.ipu.program_file import IpuProgram
from halocline.backends.ipu.training.arrays import StepArrays
from halocline.backends.ipu.training.limits import refuse_unheeded, refuse_what_is_told
from halocline.backends.ipu.training.room import Room
from halocline.backends.ipu.translate import energies_only, from_lowered
from halocline.durations import announced
from halocline.errors import UsageError
from halocline.lowering import lower
from halocline.model import Backbone
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.training.fit.fitter import Fitter, divergence, refuse_foreign
from halocline.training.fit.schedule import ema_decay, learning_rate
from halocline.training.problem import Problem
from halocline.training.recipe import Weights
from halocline.training.samples import Sample
from halocline.training.steps import Plan

_LOG = logging.getLogger(__name__)

#: Of the names of a state: what Adam of torch keeps, and what that of PopTorch keeps in a form of its own.
_ADAM, _POPTORCH = "adam", "poptorch"


@final
class IpuFitter(Fitter):
    """Fits packs of structures, step by step the same frames as torch would.

    A step's frames are packed into the fixed size of a program, which is found from the data; the gradients of
    its packs are added up. The optimiser lives in the runner, on the device; weights and moments are fetched after
    each epoch.

    Args:
        problem: what to fit.
        samples: its training frames, and after them those to replay.
        target: ``ipu``; ``ipu-model``, the SDK's model of one; or ``cpu``: the same program on plain PyTorch.
        python: interpreter that has the SDK; by default that of HALOCLINE_IPU_PYTHON, or else the running one.
        atoms: of a pack; by default found from the data.
        neighbours: of any atom; goes with ``atoms``.

    Attributes:
        runner: the process that takes the steps.

    Raises:
        UsageError: an option is not valid, the interpreter lacks what the target needs, a frame has no room, or
            the recipe asks for what cannot be done.
        LoweringError: the model cannot be lowered, or its program could not run on an IPU.
    """

    def __init__(
        self,
        problem: Problem,
        samples: Sequence[Sample],
        target: str = "ipu",
        python: str = "",
        atoms: int = 0,
        neighbours: int = 0,
    ) -> None:
        require_size(atoms, neighbours)
        interpreter = Interpreter.for_target(target, python)
        refuse_unheeded(problem.recipe, target)
        refuse_what_is_told(problem.backbone)
        self._samples, self._settings = samples, problem.recipe.training
        self._optimiser = _ADAM if target == "cpu" else _POPTORCH
        self._plan = Plan(samples, self._settings, problem.replay)
        epochs, hops = self._settings.epochs, problem.backbone.hops
        room = Room.find(samples, self._plan.steps, epochs, hops, atoms, neighbours)
        _LOG.info(
            "Each step has %d packs of %d atoms in up to %d structures.", room.packs, room.atoms, room.structures
        )
        with announced(f"Lowering {problem.backbone.name!r} for training (packs of {room.atoms} atoms)"):
            program = _lowered(problem.backbone, room)
        names = tuple(each.name for each in program.inputs)
        if not self._settings.fitted.forces:
            program = energies_only(program)
        require_conformance(program, training=True)
        inputs = tuple(each.name for each in program.inputs)
        self._arrays = StepArrays(room, names, inputs, with_forces=len(program.outputs) > 1)
        self._homes = dict(program.parameters)
        self.model = copy.deepcopy(problem.backbone).to(torch.float32)
        _require_all(self.model, self._homes)
        edges = Capabilities.reference(Form.EDGES)
        self.average = FrozenModel.freeze(problem.backbone, Precision.FLOAT32, edges).backbone
        settings = {"packs": room.packs, "clip": self._settings.gradient_clip}
        self.runner = _start(program, target, interpreter.path, settings)
        self._take(self.runner.state())

    def steps_before(self, epoch: int) -> int:
        """See `Fitter.steps_before`."""
        return self._plan.before(epoch)

    def run_epoch(self, epoch: int, at_step: Callable[[], bool], *, reductions: int = 0) -> float:
        """See `Fitter.run_epoch`."""
        losses, settings = [], self._settings
        weights = settings.weights(epoch + 1)
        for step, frames in enumerate(self._plan.steps(epoch), start=self._plan.before(epoch)):
            if at_step():
                raise KeyboardInterrupt
            self.rate = learning_rate(step, self._plan.total, settings, epoch=epoch + 1, reductions=reductions)
            losses.append(self._step(step, [self._samples[i] for i in frames], weights))
        self._take(self.runner.state())
        return float(np.mean(losses))

    def tensors(self) -> dict[str, Tensor]:
        """See `Fitter.tensors`; names are those of torch's own fit, but for moments that PopTorch keeps."""
        model = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        average = {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        return model | average | self._moments

    def load(self, tensors: dict[str, Tensor]) -> None:
        """See `Fitter.load`."""
        refuse_foreign(tensors, ("model", "average", self._optimiser))
        constants = {home: name for name, home in self._homes.items()}
        state: dict[str, NDArray[Any]] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            home, _, key = rest.rpartition(".")
            if kind in ("model", "average") and rest in constants:
                state[f"{kind}.{constants[rest]}"] = tensor.numpy()
            elif kind == _ADAM and home in constants:
                state[f"{kind}.{constants[home]}.{key}"] = tensor.numpy()
            elif kind == _POPTORCH:
                state[name] = tensor.numpy()
        self.runner.load(state)
        self._take(state)

    def _step(self, step: int, samples: list[Sample], weights: Weights) -> float:
        arrays = self._arrays.of(samples, weights.energy, weights.forces)
        found = self.runner.step(arrays, self.rate, ema_decay(step, self._settings))
        if not all(np.isfinite(each).all() for each in found):
            raise divergence(step, self._settings)
        return float(found[0])

    def _take(self, state: dict[str, NDArray[Any]]) -> None:
        """Give the backbones their weights, and keep the moments."""
        self._moments: dict[str, Tensor] = {}
        weights: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}}
        for name, array in state.items():
            kind, _, rest = name.partition(".")
            constant, _, key = rest.rpartition(".")
            tensor = torch.from_numpy(array.copy())
            if kind in weights:
                weights[kind][self._homes[rest]] = tensor
            else:
                self._moments[f"adam.{self._homes[constant]}.{key}" if kind == _ADAM else name] = tensor
        self.model.load_state_dict(weights["model"], strict=False)
        self.average.load_state_dict(weights["average"] or weights["model"], strict=False)


def _lowered(backbone: Backbone, room: Room) -> IpuProgram:
    frozen = FrozenModel.freeze(backbone, Precision.FLOAT32, Capabilities.reference(Form.TABLE))
    return from_lowered(lower(frozen, capacity=room.capacity), dict(frozen.backbone.named_parameters()))


def _require_all(backbone: Backbone, homes: dict[str, str]) -> None:
    """Every weight of the backbone is a parameter of the program.

    Raises:
        UsageError: it has none, or the program has lost one.
    """
    names = [name for name, weight in backbone.named_parameters() if weight.requires_grad]
    if not names:
        raise UsageError(f"The backbone {backbone.name!r} has no weights; there is nothing to train.")
    if lost := sorted(set(names) - set(homes.values())):
        raise UsageError(
            f"The program of {backbone.name!r} does not have {', '.join(lost[:3])} among what it can train; train "
            "with torch."
        )


def _start(program: IpuProgram, target: str, python: str, settings: dict[str, Any]) -> RunnerProcess:
    with tempfile.TemporaryDirectory(prefix="halocline-ipu-") as folder:
        path = Path(folder, "program.ipu.zip")
        program.write(path)
        return RunnerProcess(path, target, python, training=settings)
