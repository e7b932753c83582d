"""Evaluators of a backbone as the options of a call ask for them; of sums and committees, one for each term."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Final, cast, final

import numpy as np

from halocline.errors import HaloclineError, UsageError
from halocline.evaluator import Evaluator, LocalEvaluator
from halocline.evaluator.result import Difference, Result, Spread
from halocline.graph import NeighbourList, Structure
from halocline.graph.rules import NeighbourRule
from halocline.model.backbone import Backbone
from halocline.model.kept_tables import is_compressed
from halocline.partition import Division
from halocline.plugin import registry
from halocline.potential.combined import Combined
from halocline.potential.met_species import MetSpecies, has_many_pairs
from halocline.potential.pooled import PooledEvaluator
from halocline.potential.term import Term
from halocline.probes.receptive_field import require_hops
from halocline.program import Precision
from halocline.spec import Spec


def make_evaluator(
    backbone: Backbone,
    spec: Spec,
    precision: Precision,
    device: str,
    division: Division,
    halo: str,
    compress: bool = False,
    lists: dict[NeighbourRule, NeighbourList] | None = None,
) -> Evaluator:
    """Make an evaluator of a backbone as it is.

    Args:
        backbone: copied and cast, not shared.
        spec: of the backend.
        precision: of the program.
        device: as the backend takes it.
        division: into parts.
        halo: ``recompute``, ``exchange`` or ``auto``.
        compress: let tables take the place of radial functions; see `FrozenModel.freeze`. So it is of a model that
            carries tables.
        lists: neighbour lists that are shared with others, by rule; those that are not there yet are added.

    Raises:
        UsageError: an option is not there, or does not suit the backbone.
        KernelError: the backbone cannot be compressed.
    """
    lists = {} if lists is None else lists
    component = registry().find_among(("executor", "evaluator"), spec.name, "backend")
    if isinstance(backbone, Combined):
        if component.kind == "evaluator":
            raise UsageError(
                f"{spec.name} evaluates one model at a time, not {backbone.described}; stay in this process."
            )
        make = partial(make_evaluator, lists=lists)
        return CombinedEvaluator(
            backbone, [make(term, spec, precision, device, division, halo, compress) for term in backbone.terms]
        )

    if isinstance(backbone, Term):
        if component.kind == "evaluator":
            raise UsageError(
                f"{spec.name} evaluates networks, not the term {backbone.name!r}; stay in this process."
            )
        return backbone.evaluator()
    compress = compress or is_compressed(backbone)

    def make_one(model: Backbone) -> Evaluator:
        return _of_one(model, spec, precision, device, division, halo, compress, lists)

    # Processes make the model they run from its weights.
    by_met_species = compress and component.kind == "executor" and has_many_pairs(backbone)
    evaluator = MetSpecies(backbone, make_one) if by_met_species else make_one(backbone)
    return evaluator if backbone.pooled_head is None else PooledEvaluator(backbone, evaluator)


def _of_one(
    backbone: Backbone,
    spec: Spec,
    precision: Precision,
    device: str,
    division: Division,
    halo: str,
    compress: bool,
    lists: dict[NeighbourRule, NeighbourList],
) -> Evaluator:
    """An evaluator of the program of a backbone; arguments and errors as for `make_evaluator`."""
    component = registry().find_among(("executor", "evaluator"), spec.name, "backend")
    if division.divides or component.kind == "evaluator":
        require_hops(backbone)
    if component.kind == "evaluator":
        if division.memory is not None:
            raise UsageError(f"A bound on memory is for one process; give {spec.name} a number of parts.")
        given = {"backbone": backbone, "precision": precision, "division": division}
        kind = registry().load("evaluator", component.qualified_name)
        return cast("Evaluator", spec.build(kind, **given, device=device, halo=halo, compress=compress))
    executor = spec.build(registry().load("executor", component.qualified_name), device=device)
    rule = backbone.neighbours
    neighbours = lists.setdefault(rule, NeighbourList(rule))
    return LocalEvaluator(
        backbone,
        executor,
        precision,
        division,
        exchange=halo == "exchange",
        compress=compress,
        neighbours=neighbours,
    )


@final
class CombinedEvaluator(Evaluator):
    """Evaluates every term, and combines their results.

    Args:
        backbone: the terms, and what becomes of them.
        evaluators: one for each term.
    """

    def __init__(self, backbone: Combined, evaluators: Sequence[Evaluator]) -> None:
        self._backbone, self._evaluators = backbone, evaluators
        self._combine = _COMBINE[backbone.name]
        self.together = all(each.together for each in evaluators)
        self.replaced = tuple(
            dataclasses.replace(each, stage=f"{each.stage} of {term.name!r}")
            for term, evaluator in zip(backbone.terms, evaluators, strict=True)
            for each in evaluator.replaced
        )

    def evaluate(self, structure: Structure) -> Result:
        """See `Evaluator.evaluate`."""
        results = [
            evaluator.evaluate(seen)
            for evaluator, seen in zip(self._evaluators, self._seen(structure), strict=True)
        ]
        return self._combine(self._backbone, structure, results)

    def evaluate_many(self, structures: Sequence[Structure]) -> list[Result | HaloclineError]:
        """See `Evaluator.evaluate_many`; a structure that one term cannot evaluate has that error."""
        seen = zip(*map(self._seen, structures), strict=True)
        of_terms = [
            evaluator.evaluate_many(list(each)) for evaluator, each in zip(self._evaluators, seen, strict=True)
        ]
        found: list[Result | HaloclineError] = []
        for structure, *results in zip(structures, *of_terms, strict=True):
            errors = [each for each in results if isinstance(each, HaloclineError)]
            good = [each for each in results if isinstance(each, Result)]
            found.append(errors[0] if errors else self._combine(self._backbone, structure, good))
        return found

    def close(self) -> None:
        """See `Evaluator.close`."""
        for evaluator in self._evaluators:
            evaluator.close()

    def _seen(self, structure: Structure) -> list[Structure]:
        """The structure, with what each term is told of it."""
        return [
            structure.under({each.name: structure.conditions[each.name] for each in term.conditions})
            for term in self._backbone.terms
        ]


def _sum(backbone: Combined, structure: Structure, results: Sequence[Result]) -> Result:
    """Everything added up; moments and charges are those of the one term that tells them.

    The spread of one committee is that of the sum; of several it depends on which members belong together.
    """
    del backbone, structure
    virials = [result.virial for result in results]
    known = [virial for virial in virials if virial is not None]
    spreads = [result.spread for result in results if result.spread is not None]
    return Result(
        energies=reduce(np.add, [result.energies for result in results]),
        forces=reduce(np.add, [result.forces for result in results]),
        virial=reduce(np.add, known) if len(known) == len(virials) else None,
        volume=results[0].volume,
        contacts=results[0].contacts,
        magmoms=next((result.magmoms for result in results if result.magmoms is not None), None),
        charges=next((result.charges for result in results if result.charges is not None), None),
        spread=spreads[0] if len(spreads) == 1 else None,
    )


def _mean(backbone: Combined, structure: Structure, results: Sequence[Result]) -> Result:
    """The mean, and how far members are from it."""
    energies = np.stack([result.energies for result in results])
    forces = np.stack([result.forces for result in results])
    virials = [result.virial for result in results]
    known = [virial for virial in virials if virial is not None]
    mean = np.mean(known, axis=0) if len(known) == len(virials) else None
    shares = energies + backbone.offsets[:, structure.numbers]
    members = [
        Difference(share, force, None if mean is None or virial is None else virial - mean)
        for share, force, virial in zip(
            shares - shares.mean(axis=0), forces - forces.mean(axis=0), virials, strict=True
        )
    ]
    told = {
        name: np.mean([getattr(result, name) for result in results], axis=0)
        for name in ("magmoms", "charges")
        if all(getattr(result, name) is not None for result in results)
    }
    return Result(
        energies=energies.mean(axis=0),
        forces=forces.mean(axis=0),
        virial=mean,
        volume=results[0].volume,
        contacts=results[0].contacts,
        spread=Spread.of(members),
        **told,
    )


_COMBINE: Final[dict[str, Callable[[Combined, Structure, Sequence[Result]], Result]]] = {
    "sum": _sum,
    "committee": _mean,
}
