"""A potential: a backbone with its reference energies and its card, ready to evaluate structures."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    Self,
    TypedDict,
    Unpack,
    cast,
    final,
    overload,
)

import numpy as np
import torch
from ase.symbols import Symbols

from halocline.applicability import Applicability, Outside
from halocline.checkpoint import Checkpoint, save_checkpoint
from halocline.context import in_evaluation_context
from halocline.digests import tensors_digest
from halocline.errors import BackboneError, HaloclineError, NotFiniteError, UsageError
from halocline.evaluator import Evaluator, FollowingEvaluator
from halocline.evaluator.result import Result
from halocline.forks import lock
from halocline.graph import Contacts
from halocline.graph.rules import reach
from halocline.model.adapters import merged
from halocline.model.backbone import Backbone
from halocline.model.condition import check_head
from halocline.model.kept_tables import is_compressed, stored_tensors
from halocline.partition import Division
from halocline.potential.combined import Combined
from halocline.potential.evaluators import make_evaluator
from halocline.potential.many import evaluate_stream, is_list
from halocline.potential.preparation import Preparation, Prepared
from halocline.potential.term import Term
from halocline.program import Precision
from halocline.spec import Spec

if TYPE_CHECKING:
    from ase import Atoms

    from halocline.potential.calculator import HaloclineCalculator

_LOG = logging.getLogger(__name__)

#: Evaluators that a potential keeps for further calls, each for its options. Each has a copy of the weights, and
#: perhaps a compiled program or processes; a program that compares options changes between a few.
KEPT_EVALUATORS: Final = 8

#: Energies in float32 are good to a µeV per atom once reference energies stay outside; most users want the speed.
DEFAULT_DTYPE = Precision.FLOAT32


class EvaluatorOptions(TypedDict, total=False):
    """Options of an evaluator; see `Potential.__call__`."""

    backend: str
    dtype: str
    device: str
    partition: str
    halo: str
    memory: str | None
    compress: bool


class Options(EvaluatorOptions, total=False):
    """Options of a call; see `Potential.__call__`."""

    head: str | None


@final
@dataclass(frozen=True)
class Potential:
    """A model that can be evaluated, saved and handed to ASE.

    Threads may share it; those that ask for the same options take turns. A calculator for each lets them run side
    by side. Weights, modules and reference energies may be changed between evaluations: results, those of
    calculators that were made before too, are always those of the model as it is.

    Attributes:
        backbone: the network, in float64.
        reference_energies: chemical symbol → eV, added for each atom in float64. Its keys are the model's species.
        card: who made the model, from what, how accurate it is, under which licence.
    """

    backbone: Backbone
    reference_energies: dict[str, float]
    card: dict[str, Any]
    _evaluators: OrderedDict[tuple[str | bool | None, ...], FollowingEvaluator] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )
    _applicability: Applicability = field(init=False, repr=False, compare=False)
    _preparation: Preparation = field(init=False, repr=False, compare=False)
    _said: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    _making: threading.RLock = field(default_factory=lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(set(self.backbone.species)) < len(self.backbone.species):
            raise BackboneError("The model names one of its species twice; each may be named once.")
        if set(self.reference_energies) != set(self.backbone.species):
            raise BackboneError(
                f"Reference energies are needed for exactly the species {', '.join(self.backbone.species)}; "
                f"they are given for {', '.join(self.reference_energies) or 'none'}."
            )
        object.__setattr__(self, "_applicability", Applicability(self.card))
        object.__setattr__(self, "_preparation", Preparation(self.backbone, self.reference_energies))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are models alone; compiled programs and processes are made anew."""
        return Potential, (self.backbone, self.reference_energies, self.card)

    @in_evaluation_context
    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Weights are copied as they are, whatever the host does to tensors meanwhile."""
        kind, contents = self.__reduce__()
        copied: Self = kind(*copy.deepcopy(contents, memo))
        return copied

    @property
    def species(self) -> tuple[str, ...]:
        """Chemical symbols that the model knows."""
        return self.backbone.species

    @property
    def cutoff(self) -> float | None:
        """Distance in Å beyond which atoms do not exchange messages; None if nearest ones do however far."""
        farthest = reach(self.backbone.neighbours)
        return farthest if farthest < math.inf else None

    @property
    def compressed(self) -> bool:
        """Whether it carries tables of its radial functions, and is evaluated with them."""
        return is_compressed(self.backbone)

    @overload
    def __call__(self, atoms: Atoms, **options: Unpack[Options]) -> Result: ...

    @overload
    def __call__(self, atoms: Sequence[Atoms], **options: Unpack[Options]) -> list[Result]: ...

    @in_evaluation_context
    def __call__(
        self,
        atoms: Atoms | Sequence[Atoms],
        *,
        backend: str = "torch",
        dtype: str = DEFAULT_DTYPE,
        device: str = "auto",
        partition: str = "none",
        halo: str = "auto",
        memory: str | None = None,
        head: str | None = None,
        compress: bool = False,
    ) -> Result | list[Result]:
        """Evaluate one structure, or a list of them, many at a time.

        Args:
            atoms: any ASE structure; attached calculators and constraints are not looked at. Or a list of such, of
                any sizes and periodicities: each has the result that it has alone, but for rounding as
                `many.AGREEMENT` says.
            backend: executor and its options, such as ``torch``.
            dtype: ``float32`` or ``float64``, of the network; geometry and sums are always float64.
            device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            partition: ``none``, or a partitioner and a number of parts, such as ``rcb:8``: on one device they are
                evaluated one after another, which bounds the memory that the network takes; ``ddp`` gives each
                rank its share. The result is that of the whole.
            halo: ``recompute``, every part evaluates the halo that it needs; ``exchange``, parts run stage by
                stage and send each other the state of their halos; or ``auto``.
            memory: such as ``8GiB``, what this process may take on the CPU; it chooses the number of parts.
            head: the head or fidelity that is to answer, of models that have several; without it each structure
                says so in ``atoms.info["head"]``, as it does of charge and spin if the model takes them.
            compress: let tables take the place of the model's radial functions, which is faster; energies and
                forces then differ by about what float32 leaves to rounding. The tables are held against the
                functions over the whole range of distances before anything is evaluated; a later process of the
                same user looks at each interval once.

        Raises:
            StructureError: not finite, no volume, coincident atoms, or elements the model does not know. Of a list
                it is the first such structure, counted from 0; `map` can keep the others.
            NotFiniteError: the model's energy, a force or the stress is not finite; it is a StructureError, too.
            UsageError: a backend, device, dtype, partition or head that is not there.
            KernelError: the model cannot be compressed.
        """
        options = (backend, dtype, device, partition, halo, memory, compress)
        _require_types(options)
        check_head(self.backbone.conditions, head)
        evaluator = self._kept_evaluator(*options)
        if is_list(atoms):
            return list(cast("Iterator[Result]", evaluate_stream(self, evaluator, atoms, head, keep_errors=False)))
        result = self.evaluate_with(evaluator, cast("Atoms", atoms), head)
        self.say_outside(result)
        return result

    @in_evaluation_context
    def evaluator(
        self,
        backend: str,
        dtype: str,
        device: str,
        partition: str,
        halo: str,
        memory: str | None = None,
        compress: bool = False,
    ) -> FollowingEvaluator:
        """Make an evaluator of its own, with its own neighbour list; arguments as for a call.

        Raises:
            UsageError: dtype, halo rule, backend, partition or device is none that there is.
        """
        _require_types((backend, dtype, device, partition, halo, memory, compress))
        if dtype not in tuple(Precision):
            raise UsageError(f"The dtype must be float32 or float64, not {dtype!r}.")
        if halo not in ("auto", "recompute", "exchange"):
            raise UsageError(f"The halo rule must be auto, recompute or exchange, not {halo!r}.")
        division, spec = Division.parse(partition, memory), Spec.parse(backend)
        # Not of this object: whoever drops it must see its evaluators end with it, and their processes.
        make = partial(make_evaluator, self.backbone, spec, Precision(dtype), device, division, halo, compress)
        return FollowingEvaluator(self.backbone, make)

    def calculator(
        self,
        *,
        backend: str = "torch",
        dtype: str = DEFAULT_DTYPE,
        device: str = "auto",
        partition: str = "none",
        halo: str = "auto",
        memory: str | None = None,
        head: str | None = None,
        compress: bool = False,
    ) -> HaloclineCalculator:
        """Make an ASE calculator; arguments as for a call, and errors when it is first used."""
        from halocline.potential.calculator import HaloclineCalculator

        options: EvaluatorOptions = {
            "backend": backend,
            "dtype": dtype,
            "device": device,
            "partition": partition,
            "halo": halo,
        }
        if memory is not None:
            options["memory"] = memory
        if compress:
            options["compress"] = compress
        return HaloclineCalculator(self, options, head)

    def map(
        self,
        structures: Iterable[Atoms],
        *,
        errors: Literal["raise", "yield"] = "raise",
        backend: str = "torch",
        dtype: str = DEFAULT_DTYPE,
        device: str = "auto",
        partition: str = "none",
        halo: str = "auto",
        memory: str | None = None,
        head: str | None = None,
        compress: bool = False,
    ) -> Generator[Result | HaloclineError]:
        """Evaluate structures as they come, many at a time, and yield their results in the same order.

        At most `many.WINDOW_STRUCTURES` structures are read ahead, so any number takes bounded memory; that many
        are waited for, too. Results are those of single calls but for rounding, as `many.AGREEMENT` says.

        Args:
            structures: read when results are asked for; objects may be changed and used again by whoever yields
                them.
            errors: ``raise`` ends with the first structure that cannot be evaluated, after the results of those
                before it; ``yield`` gives its error in its place and goes on.
            backend: as for a call, and so are all that follow.
            dtype: see ``backend``.
            device: see ``backend``.
            partition: see ``backend``. Divided structures are evaluated one after another.
            halo: see ``backend``.
            memory: such as ``2GiB``, what this process may take on the CPU: as many structures as fit are
                evaluated together, and one that does not fit is divided.
            head: see ``backend``.
            compress: see ``backend``.

        Raises:
            StructureError: as for a call, and says which structure it is, counted from 0.
            UsageError: one of them is no structure, or an option is wrong.

        Example:
            >>> import halocline
            >>> from ase import Atoms
            >>> pairs = (Atoms("Ar2", [(0, 0, 0), (0, 0, z)]) for z in (3.7, 3.8, 3.9))
            >>> [round(r.energy, 4) for r in halocline.load("lennard-jones-argon").map(pairs)]
            [-0.0103, -0.0103, -0.0094]
        """
        options = (backend, dtype, device, partition, halo, memory, compress)
        _require_types(options)
        check_head(self.backbone.conditions, head)
        if errors not in ("raise", "yield"):
            raise UsageError(f"What is done with errors must be raise or yield, not {errors!r}.")
        evaluator = self._kept_evaluator(*options)
        return evaluate_stream(self, evaluator, structures, head, keep_errors=errors == "yield")

    def evaluate_with(self, evaluator: Evaluator, atoms: Atoms, head: str | None = None) -> Result:
        """Evaluate one structure with an evaluator from `evaluator`; errors as for a call.

        Nothing is said where it lies outside of the training: `Result.outside` holds it, `say_outside` says it.
        """
        return self.evaluate_prepared(evaluator, self.prepare(atoms, head)).to_keep()

    def evaluate_prepared(self, evaluator: Evaluator, prepared: Prepared) -> Result:
        """Evaluate a structure from `prepare`; the result is for whoever lets go of it at once, see `to_keep`.

        Raises:
            NotFiniteError: as for a call.
        """
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # no result is made of what overflows
                return self._completed(evaluator.evaluate(prepared.structure), prepared)
        except NotFiniteError as error:
            raise _of_formula(error, prepared) from error

    @in_evaluation_context
    def evaluate_many_with(
        self, evaluator: Evaluator, several: Sequence[Prepared]
    ) -> list[Result | HaloclineError]:
        """The result of each of several structures from `prepare`, or what is wrong with it."""
        with np.errstate(over="ignore", invalid="ignore"):
            found = evaluator.evaluate_many([each.structure for each in several])
            return [self._outcome(*each) for each in zip(found, several, strict=True)]

    def _outcome(self, found: Result | HaloclineError, prepared: Prepared) -> Result | HaloclineError:
        try:
            if isinstance(found, Result):
                return self._completed(found, prepared).to_keep()
        except NotFiniteError as error:
            found = error
        return _of_formula(found, prepared) if isinstance(found, NotFiniteError) else found

    def _completed(self, result: Result, prepared: Prepared) -> Result:
        """With reference energies, and what lies outside of the training."""
        outside = () if result.contacts is None else self.remarks(result.contacts)
        return result.completed(prepared.reference, outside)

    def prepare(self, atoms: Atoms, head: str | None = None) -> Prepared:
        """Copy and check a structure.

        Args:
            atoms: the structure.
            head: that is to answer; see a call.

        Raises:
            StructureError: it cannot be evaluated, whatever its neighbours.
        """
        return self._preparation.prepare(atoms, head)

    @in_evaluation_context
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint: safetensors with config, reference energies and card in the header.

        Weights that float32 holds exactly are stored in it; nothing is rounded. Adapters are merged.

        Raises:
            BackboneError: it is a sum or a committee, whose terms are saved one by one; or no network at all.
            CheckpointError: the model cannot be stored, or the file cannot be written.
        """
        if isinstance(self.backbone, Combined | Term):
            self.backbone.refuse()
        tensors = {name: _narrow(t) for name, t in stored_tensors(merged(self.backbone)).items()}
        checkpoint = Checkpoint(
            backbone=self.backbone.name,
            config=self.backbone.config,
            tensors=tensors,
            reference_energies=self.reference_energies,
            card=self.card,
        )
        save_checkpoint(Path(path), checkpoint)

    def digest(self) -> str:
        """SHA-256 of all that its numbers follow from: architecture, weights, tables, reference energies."""
        what = [self.backbone.name, self.backbone.config, self.reference_energies]
        about = json.dumps(what, sort_keys=True, default=str)
        return tensors_digest(stored_tensors(self.backbone).items(), about)

    def _kept_evaluator(self, *options: str | bool | None) -> Evaluator:
        """The evaluator that calls with these options share; those that were not used for long are closed."""
        left: list[Evaluator] = []
        with self._making:  # which may take long, and two threads need not do it twice
            if options not in self._evaluators:
                self._evaluators[options] = self.evaluator(*options)  # type: ignore[arg-type]
            evaluator = self._evaluators[options]
            self._evaluators.move_to_end(options)
            while len(self._evaluators) > KEPT_EVALUATORS:
                left.append(self._evaluators.popitem(last=False)[1])
        for each in left:  # outside of the lock, as other threads may be using them
            each.close()
        return evaluator

    def say_outside(self, result: Result) -> None:
        """Warn of a result outside of the training, once of each pair of elements and of each element."""
        self.say(result.outside)

    def remarks(self, contacts: Contacts) -> tuple[Outside, ...]:
        """In what a structure with these contacts lies outside of the training."""
        return self._applicability.outside(contacts)

    def say(self, remarks: Iterable[Outside]) -> None:
        """Warn as `say_outside` does."""
        for remark in remarks:
            if remark.key not in self._said:
                self._said.add(remark.key)
                _LOG.warning("%s.", remark.warning)


def _of_formula(error: NotFiniteError, prepared: Prepared) -> NotFiniteError:
    return NotFiniteError(f"{Symbols(prepared.structure.numbers).get_chemical_formula()}: {error}")


def _require_types(options: tuple[str | bool | None, ...]) -> None:
    """Refuse what is no text among backend, dtype, device, partition, halo and memory; the last may be None.

    Raises:
        UsageError: one of them is no text, or compress is neither true nor false.
    """
    names = ("backend", "dtype", "device", "partition", "halo", "memory")
    *texts, compress = options
    for name, value in zip(names, texts, strict=True):
        if not (isinstance(value, str) or (name == "memory" and value is None)):
            raise UsageError(f"The option {name} must be text, as on the command line, not {value!r}.")
    if not isinstance(compress, bool):
        raise UsageError(f"The option compress must be True or False, not {compress!r}.")


def _narrow(tensor: torch.Tensor) -> torch.Tensor:
    """In float32 if that loses nothing."""
    if tensor.dtype == torch.float64 and torch.equal(tensor.float().double(), tensor):
        return tensor.float()
    return tensor
