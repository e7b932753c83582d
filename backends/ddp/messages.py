"""What driver and ranks say to each other."""

from __future__ import annotations

import platform
import secrets
import traceback
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, final

import numpy as np
import torch
from numpy.typing import NDArray

import halocline
from halocline import errors
from halocline.backends.ddp.links import LostPeerError
from halocline.backends.ddp.model import PortableModel
from halocline.backends.ddp.resident.owned_atoms import OwnedAtoms
from halocline.cost.loads import RankLoad
from halocline.cost.profile import Profile
from halocline.cost.speeds import Speeds
from halocline.dynamics.residents import StepSums
from halocline.dynamics.settings import Settings
from halocline.errors import DistributedError, HaloclineError
from halocline.evaluator.runner import Contribution
from halocline.graph import Graph
from halocline.memory.live_bytes import is_out_of_memory
from halocline.partition import Domain
from halocline.plugin import API_VERSION
from halocline.program import Precision
from halocline.program.replacement import Replacement


@final
class Signal(Enum):
    """Messages without contents."""

    BEAT = auto()  # "I am alive": of a driver always, of a rank while it works
    STOP = auto()  # of the driver, at the end
    GATHER = auto()  # of the driver to ranks that hold atoms; answered with `Gathered`


def own_versions() -> dict[str, str]:
    """The versions, by name, that have to be the same in all processes for their numbers to be of one kind."""
    return {
        "halocline": halocline.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "plugin API": str(API_VERSION),
    }


@final
@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of a rank. It stays as it is, so that ranks of other versions can be named.

    Attributes:
        rank: its number.
        versions: see `own_versions`.
        digest: of the model that it was itself called with; None if it was started for this evaluator.
    """

    rank: int
    versions: dict[str, str]
    digest: str | None


def hello(rank: int, digest: str | None = None) -> Hello:
    """The greeting of this process: its rank, its versions and the digest of its model."""
    return Hello(rank, own_versions(), digest)


@final
@dataclass(frozen=True, slots=True)
class Assignment:
    """What a rank is to evaluate, and how; answered with `Ready`.

    Attributes:
        model: without reference energies.
        precision: of the program.
        inner: the executor and its options.
        device: ``cpu`` or ``cuda``.
        exchange: whether to be ready to send state to other ranks; each plan says anew whether to do so.
        timeout: seconds, of the evaluator.
        compress: whether tables take the place of radial functions.
        group: name of the process group, unlike any before.
    """

    model: PortableModel
    precision: Precision
    inner: str
    device: str
    exchange: bool
    timeout: float
    compress: bool = False
    group: str = field(default_factory=lambda: secrets.token_hex(8))


@final
@dataclass(frozen=True, slots=True)
class Ready:
    """A rank has its model.

    Attributes:
        replaced: stages of it that kernels have taken the place of.
    """

    replaced: tuple[Replacement, ...]


@final
@dataclass(frozen=True, slots=True)
class Trial:
    """Find out how fast evaluations and messages are, all ranks at once.

    Answered with `Measured`.

    Attributes:
        graph: to evaluate, for rank 0.
        group: name of a process group for this one purpose.
    """

    graph: Graph | None
    group: str


@final
@dataclass(frozen=True, slots=True)
class Measured:
    """What a trial has found out.

    Attributes:
        speeds: of rank 0, if its executor can exchange; None of others.
        refusal: why it cannot, in a sentence; else empty.
    """

    speeds: Speeds | None = None
    refusal: str = ""


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """What a rank holds until the neighbour list is searched anew.

    Attributes:
        domain: atoms and candidate edges.
        pbc: (3,) bool, of the whole structure.
        exchange: whether ranks send state to each other.
    """

    domain: Domain
    pbc: NDArray[np.bool_]
    exchange: bool


@final
@dataclass(frozen=True, slots=True)
class Step:
    """Where the atoms of a rank are now; answered with a `Contribution`.

    Attributes:
        positions: (n, 3) Å.
        cell: (3, 3) Å, of the whole structure; None if it is that of the step before.
        plan: None if it is that of the step before.
    """

    positions: NDArray[np.float64]
    cell: NDArray[np.float64] | None
    plan: Plan | None


@final
@dataclass(frozen=True, slots=True)
class Settle:
    """Atoms that a rank is to hold and move; answered with `Moved`.

    Attributes:
        atoms: any of the structure's, each of which one rank is given.
        positions: (n, 3) Å, where they are now, if those of `atoms` are where domains were built; else None.
        axes: of `Regions`, by which that was done; None if they are to be found.
        cuts: likewise.
        cell: (3, 3) Å, as it is now.
        cell_built: (3, 3) Å, as it was when domains were built; None where `positions` is.
        integrator: its state; empty at the start of a run.
        pbc: (3,) bool.
        settings: of the run.
        free: degrees of freedom of all atoms.
        done: steps of the run so far.
        still: whether the centre of mass is, so that forces which do not add up to nothing must not move it.
        exchange: whether ranks send each other state at borders.
        partition: how a rank divides the atoms that it owns into parts; see `Division.parse`.
        memory: bytes that a rank may take, which then decide on the number of parts; else None.
    """

    atoms: OwnedAtoms
    positions: NDArray[np.float64] | None
    axes: NDArray[np.int64] | None
    cuts: NDArray[np.float64] | None
    cell: NDArray[np.float64]
    cell_built: NDArray[np.float64] | None
    integrator: NDArray[np.float64]
    pbc: NDArray[np.bool_]
    settings: Settings
    free: int
    done: int
    still: bool
    exchange: bool
    partition: str
    memory: int | None


@final
@dataclass(frozen=True, slots=True)
class Weigh:
    """Find out what atoms would ask of ranks that held them, and how fast these are, all ranks at once.

    Answered with `Weighed`; nothing is held then.

    Attributes:
        start: the atoms.
        profile: of the model.
        group: name of a process group for this one purpose.
    """

    start: Settle
    profile: Profile
    group: str


@final
@dataclass(frozen=True, slots=True)
class Weighed:
    """What a rank has to do in a step.

    Attributes:
        load: of it.
        measured: by the rank that has most to do; empty of others, and where no atom has a neighbour.
    """

    load: RankLoad
    measured: Measured


@final
@dataclass(frozen=True, slots=True)
class Advance:
    """Move the atoms that ranks hold; answered with `Moved`.

    Attributes:
        steps: how many.
    """

    steps: int


@final
@dataclass(frozen=True, slots=True)
class Moved:
    """Atoms have moved.

    Attributes:
        sums: of each step; the way of the farthest atom, contacts and what is not finite are those of the rank.
    """

    sums: tuple[StepSums, ...]


@final
@dataclass(frozen=True, slots=True)
class Gathered:
    """What a rank holds.

    Attributes:
        ids: (n,) int64, of its atoms.
        positions: (n, 3) Å.
        momenta: (n, 3) √(amu·eV).
        forces: (n, 3) eV/Å.
        energies: (n,) eV.
        built: (n, 3) Å, where they were when domains were built.
        axes: of `Regions`, by which that was done.
        cuts: likewise.
        cell: (3, 3) Å.
        cell_built: (3, 3) Å, as it was then.
        integrator: its state.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.float64]
    momenta: NDArray[np.float64]
    forces: NDArray[np.float64]
    energies: NDArray[np.float64]
    built: NDArray[np.float64]
    axes: NDArray[np.int64]
    cuts: NDArray[np.float64]
    cell: NDArray[np.float64]
    cell_built: NDArray[np.float64]
    integrator: NDArray[np.float64]


@final
@dataclass(frozen=True, slots=True)
class FailedAnswer:
    """An answer that is none.

    Attributes:
        kind: the error that the driver raises, by the name of its class in `halocline.errors`.
        text: its message, without the number of the rank.
        trace: the traceback of an error that was not raised on purpose, else empty.
        secondary: whether another rank is probably to blame.
    """

    kind: str
    text: str
    trace: str = ""
    secondary: bool = False

    @classmethod
    def of(cls, error: Exception) -> FailedAnswer:
        """The answer for an error: its kind and words, and the traceback of one that nobody raised on purpose."""
        if isinstance(error, LostPeerError):
            return cls(_name(error), str(error), secondary=True)
        if isinstance(error, HaloclineError):
            return cls(_name(error), str(error))
        ours = DistributedError.__name__
        if is_out_of_memory(error):
            return cls(ours, f"It ran out of memory ({_first_line(error)}); use more parts or more ranks.")
        trace = "".join(traceback.format_exception(error))
        return cls(ours, f"It failed with {type(error).__name__}: {error}", trace)

    def error(self, rank: int) -> HaloclineError:
        """The error to raise on the driver."""
        error = _ERRORS.get(self.kind, DistributedError)(f"Rank {rank}: {self.text}")
        if self.trace:
            error.add_note(self.trace)
        return error


#: What may be sent to a rank, and what it may answer.
TO_RANK: Final = (Signal, Assignment, Trial, Step, Weigh, Settle, Advance)
TO_DRIVER: Final = (Signal, Hello, Ready, Measured, Contribution, Weighed, Moved, Gathered, FailedAnswer)

#: Errors that ranks and driver share.
_ERRORS: Final[dict[str, type[HaloclineError]]] = {
    name: each
    for name, each in vars(errors).items()
    if isinstance(each, type) and issubclass(each, HaloclineError)
}


def _name(error: HaloclineError) -> str:
    """Of the nearest class that the driver knows for certain."""
    return next(each.__name__ for each in type(error).__mro__ if _ERRORS.get(each.__name__) is each)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
