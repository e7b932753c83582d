"""The check of parts sees a halo that is one hop short, and only a long box lets it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from halocline.aggregation import Form
from halocline.model.build import build_backbone
from halocline.plugin import registry
from halocline.testing import check_backbone, evaluate
from halocline.testing.subject import Subject


@pytest.fixture
def schnet():
    return build_backbone("schnet", registry().load("backbone", "schnet").example_config())


def without_last_hop(part):
    """The part without the atoms of its outermost level: their messages are lost."""
    atoms = part.levels[-2]
    kept = part.senders < atoms
    receivers = part.receivers[kept]
    return dataclasses.replace(
        part,
        atoms=part.atoms[:atoms],
        levels=(*part.levels[:-1], atoms),
        edges=part.edges[kept],
        senders=part.senders[kept],
        receivers=receivers,
        edge_levels=tuple(int(e) for e in np.searchsorted(receivers, part.levels[:-1])),
    )


@pytest.fixture
def short_halos(monkeypatch):
    right = evaluate.cut_part
    monkeypatch.setattr(evaluate, "cut_part", lambda *arguments: without_last_hop(right(*arguments)))


@pytest.mark.usefixtures("short_halos")
def test_a_halo_one_hop_short_fails(schnet):
    (result,) = check_backbone(schnet, checks=["parts"]).results
    assert result.status == "failed"


@pytest.mark.usefixtures("short_halos")
@pytest.mark.parametrize("form", Form)
def test_a_small_cell_cannot_see_it(schnet, form):
    subject = Subject(schnet)
    owners = np.arange(len(subject.samples.crystal))
    crystal = subject.evaluate(subject.samples.crystal, form=form, owners=owners)
    np.testing.assert_allclose(crystal.forces, subject.evaluate(subject.samples.crystal).forces, atol=1e-12)
    alone = (np.arange(len(subject.samples.wire)) > 0).astype(np.int64)
    wire = subject.evaluate(subject.samples.wire, form=form, owners=alone)
    assert np.abs(wire.forces - subject.evaluate(subject.samples.wire).forces).max() > 1e-6


def test_every_layer_of_the_long_box_works_on_a_smaller_prefix(schnet):
    subject = Subject(schnet)
    graph = subject.graph(subject.samples.wire)
    owners = (np.arange(len(graph.structure)) > 0).astype(np.int64)
    lone, _ = evaluate.divide(graph, schnet.hops, owners)
    assert list(lone.levels) == sorted(set(lone.levels))
    assert lone.levels[-1] < len(graph.structure)
