"""Which pruner a number or a text selects, and what becomes of one that goes wrong."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

import halocline
from halocline.errors import PluginError, UsageError
from halocline.model import pruner as module
from halocline.model.pruner import Pruner, PruningReport, make_pruner, pruned
from halocline.plugin import Component, Plugin, Registry, registry
from halocline.plugins.backbones.schnet import SchNet


def backbone():
    return SchNet.from_config(SchNet.example_config())


class Odd(Pruner):
    """Goes wrong as it is told."""

    def __init__(self, how: str = "", deep: bool = False, share: float = 0.5) -> None:
        if how == "made":
            raise KeyError("size")
        self.how, self.deep = how, deep

    def prune(self, backbone):
        if self.how == "raise":
            raise ZeroDivisionError("by nothing")
        if self.how == "one":
            return backbone
        if self.how == "none":
            return None, None
        torch.rand(3)
        return backbone, PruningReport.compare(backbone, backbone)


@pytest.fixture
def odd(monkeypatch):
    """Let pruners of two distributions be installed."""
    home = ModuleType("odd_pruners")
    home.Odd, home.Wrong = Odd, dict
    monkeypatch.setitem(sys.modules, "odd_pruners", home)
    strangers = [
        Component(name, f"odd_pruners:{target}", kind="pruner", distribution=distribution)
        for distribution, name, target in [
            ("first", "odd", "Odd"),
            ("second", "odd", "Odd"),
            ("first", "alone", "Odd"),
            ("first", "wrong", "Wrong"),
            ("first", "depth", "Wrong"),
        ]
    ]
    known = Registry((*registry().plugins, Plugin("strange", "first", "1", components=tuple(strangers))))
    monkeypatch.setattr(module, "registry", lambda: known)


@pytest.mark.parametrize(
    "prune",
    [1, "1", "+1", np.int64(1), np.array(1), "depth:layers=1", "halocline/depth:layers=1"],
    ids=str,
)
@pytest.mark.usefixtures("odd")
def test_numbers_and_texts_select_depth(prune):
    assert make_pruner(prune).layers == 1
    assert len(pruned(backbone(), prune).layers) == 1


@pytest.mark.parametrize(
    ("prune", "message"),
    [
        (True, "must be a number of layers or a text"),
        (1.0, "must be a number of layers or a text"),
        ([1], "must be a number of layers or a text"),
        ("", "names nothing"),
        ("half", "no pruner named 'half'"),
        ("depth", "needs the option layers; say depth:layers="),
        ("depth:layers=one", "must be a whole number"),
        ("depth:layer=1", "did you mean 'layers'"),
        ("depth:2", "name:key=value"),
        (0, "Cannot keep 0 layers"),
        ("-1", "Cannot keep -1 layers"),
        (10**30, "Cannot keep 1000000"),
        ("odd", "ambiguous; say first/odd or second/odd"),
        ("alone:deep=yes", "must be true or false, not 'yes'"),
    ],
)
@pytest.mark.usefixtures("odd")
def test_what_cannot_be_had_is_refused(prune, message):
    with pytest.raises(UsageError, match=message):
        pruned(backbone(), prune)


@pytest.mark.parametrize(
    ("prune", "message"),
    [
        ("alone:how=made", "'alone' cannot be made: KeyError: 'size'"),
        ("alone:how=raise", "failed: ZeroDivisionError: by nothing"),
        ("alone:how=one", "failed: TypeError"),
        ("alone:how=none", "returned NoneType, no backbone"),
        ("wrong", "no subclass of halocline.model.pruner.Pruner"),
        ("first/depth", "no subclass"),
    ],
)
@pytest.mark.usefixtures("odd")
def test_pruner_that_goes_wrong_is_named(prune, message):
    with pytest.raises(PluginError, match=message):
        pruned(backbone(), prune)


@pytest.mark.usefixtures("odd")
def test_full_name_and_options_reach_the_pruner():
    assert make_pruner("second/odd:deep=true").deep is True
    assert make_pruner("second/odd:deep=false").deep is False


@pytest.mark.parametrize("prune", [1, "alone"])
@pytest.mark.usefixtures("odd")
def test_random_state_of_the_caller_is_kept(prune):
    model = backbone()
    before = torch.get_rng_state()
    pruned(model, prune)
    assert torch.equal(torch.get_rng_state(), before)


def test_load_takes_what_the_command_line_takes():
    by_number = halocline.load("water-revpbe0d3-schnet", prune=1)
    by_text = halocline.load("water-revpbe0d3-schnet", prune="depth:layers=1")
    assert len(by_number.backbone.layers) == 1
    assert by_number.backbone.config == by_text.backbone.config
    with pytest.raises(UsageError, match="did you mean 'depth'"):
        halocline.load("water-revpbe0d3-schnet", prune="depht:layers=1")
