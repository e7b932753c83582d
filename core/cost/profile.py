"""What a model asks of ranks, found out from the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

from torch import Tensor

from halocline.aggregation import Form
from halocline.context import in_evaluation_context
from halocline.model.backbone import Backbone
from halocline.model.chain import chain
from halocline.model.stage import Stage, StageSpec, State
from halocline.partition.part import whole
from halocline.program import Capabilities, FrozenModel, Precision
from halocline.program.layout import lay_out

#: Atoms of the chain that stages are run on: enough for every one of them to have neighbours.
CHAIN = 8


@final
@dataclass(frozen=True, slots=True)
class Profile:
    """The hops of a model and the state between them.

    A level is that of the receivers of edges, for each hop of each stage in which it evaluates edges.

    Attributes:
        levels: where halos are recomputed.
        exchanged_levels: where state is exchanged, and each stage has a halo of its own.
        bytes: that exchanging ranks send in one step for each atom of a halo, forwards and backwards.
        rounds: how often they do so.
        refusal: why they cannot; see `Backbone.exchange_refusal`. Nothing is sent then.
    """

    levels: tuple[int, ...]
    exchanged_levels: tuple[int, ...]
    bytes: int
    rounds: int
    refusal: str = ""

    @classmethod
    @in_evaluation_context
    def of(cls, backbone: Backbone, precision: Precision) -> Self:
        """Count the hops of a backbone, and run its stages on a few atoms to see what they hand on.

        Raises:
            BackboneError: the backbone cannot be evaluated, see `FrozenModel.freeze`.
        """
        levels, refusal = receiver_levels(backbone), backbone.exchange_refusal
        exchanged = tuple(level for _, stage in backbone.stages() for level in _alone(stage.spec))
        if refusal:
            return cls(levels, exchanged, 0, 0, refusal)
        forwards, backwards = _sent(backbone, precision)
        sent = sum(_row_bytes(values) for values in (*forwards, *backwards))
        return cls(levels, exchanged, sent, len(forwards) + len(backwards))

    @classmethod
    def of_layers(cls, layers: int, floats: int, size: int = 4) -> Self:
        """A model of equal layers of one hop each.

        Args:
            layers: how many.
            floats: for each atom, that one layer hands to the next as one array.
            size: bytes of a float.
        """
        rounds = 2 * (layers - 1)
        return cls(tuple(reversed(range(layers))), (0,) * layers, rounds * floats * size, rounds)

    @property
    def reach(self) -> int:
        """Hops of the halo of recomputing ranks."""
        return max(self.levels, default=-1) + 1

    @property
    def exchanged_reach(self) -> int:
        """Hops of the halo of exchanging ranks."""
        return max(self.exchanged_levels, default=-1) + 1


def receiver_levels(backbone: Backbone) -> tuple[int, ...]:
    """See `Profile.levels`: stages work their way inwards from the outermost; so does each readout by itself."""
    level, readouts = backbone.hops, backbone.readouts
    levels: list[int] = []
    for depth, stage in enumerate((backbone.embed, *backbone.layers)):
        assert isinstance(stage, Stage)
        levels += range(level - stage.spec.hops + stage.spec.edgeless, level)
        level -= stage.spec.hops
        if depth in readouts:
            levels += range(readouts[depth].spec.edgeless, readouts[depth].spec.hops)
    return tuple(levels)


def _alone(spec: StageSpec) -> range:
    """The levels of a stage that is given the state which it needs, and drops what it leaves incomplete."""
    return range(spec.edgeless + spec.incomplete, spec.reach)


def _sent(backbone: Backbone, precision: Precision) -> tuple[list[Tensor], list[Tensor]]:
    """Values of atoms that cross between ranks, and those whose cotangents come back.

    Every rank computes by itself what follows from the species alone. From the first stage with hops on, a stage
    that looks at neighbours needs their state; its cotangents return once for each such stage.
    """
    shared = [form for form in Form if all(form in stage.spec.forms for _, stage in backbone.stages())]
    frozen = FrozenModel.freeze(backbone, precision, Capabilities.reference(shared[0] if shared else Form.EDGES))
    graph = chain(backbone, CHAIN, seed=0)
    inputs = lay_out(graph, whole(CHAIN, graph.edges, 1), frozen.form, precision)
    twin, state, complete = frozen.backbone, State({"species": inputs.species}, {}), True
    forwards: list[Tensor] = []
    backwards: list[Tensor] = []
    for depth, layer in enumerate((twin.embed, *twin.layers)):
        assert isinstance(layer, Stage)
        readers = [layer, *([twin.readouts[depth - 1]] if depth - 1 in twin.readouts else [])]
        _cross(state, [] if complete else readers, forwards, backwards)
        state = layer(state, *inputs.blocks(layer.spec.neighbours, [0] * layer.spec.hops, inputs.vectors))
        complete = complete and not layer.spec.hops
    last = twin.readouts.get(len(twin.layers))
    _cross(state, [last] if last and not complete else [], forwards, backwards)
    return forwards, backwards


def _cross(state: State, readers: list[Stage], forwards: list[Tensor], backwards: list[Tensor]) -> None:
    """Note what the readers of a state make ranks send."""
    looking = [stage for stage in readers if stage.spec.hops]
    values = [state.atoms[name] for name in sorted(state.atoms)]
    forwards += values if looking else []
    backwards += [value for value in values if value.is_floating_point()] * len(looking)


def _row_bytes(values: Tensor) -> int:
    return values[0].numel() * values.element_size()
