"""Whatever a plugin module holds, discovery says in one line what is wrong with it."""

import os
import random
import sys

import pytest

from halocline.errors import PluginError
from halocline.plugin import Component, registry
from halocline.plugin.discovery import discover

HEAD = "from halocline.plugin import Component, hookimpl\nhalocline_api = 1\n"
HOOK = HEAD + "@hookimpl\ndef halocline_backbones():\n    "

FAULTS = {
    "no API version": (
        "from halocline.plugin import hookimpl",
        "states no halocline_api",
    ),
    "API version that is no number": ("halocline_api = '1'", "states halocline_api = '1'"),
    "older API version": (HEAD + "halocline_api = 0", "a-plugin is the older one"),
    "no hook": (HEAD, "it implements no hook"),
    "hook without its mark": (
        HEAD + "def halocline_pruners():\n    return []",
        "halocline_pruners is not marked as a hook",
    ),
    "hook with an argument too many": (
        HEAD + "@hookimpl\ndef halocline_pruners(config):\n    return []",
        "Argument(s) {'config'} are declared in the hookimpl but can not be found",
    ),
    "hook that raises": (HOOK + "raise KeyError('size')", "halocline_backbones failed: KeyError: 'size'"),
    "hook that leaves": (HOOK + "raise SystemExit", "halocline_backbones failed: SystemExit"),
    "hook that returns nothing": (HOOK + "return None", "halocline_backbones returned None"),
    "hook that is a generator": (HOOK + "yield Component('x', 'm:a')", "halocline_backbones returned <gen"),
    "capital in a name": (HOOK + "return [Component('Mace', 'm:a')]", "component name 'Mace' is malformed"),
    "slash in a name": (HOOK + "return [Component('a/b', 'm:a')]", "component name 'a/b' is malformed"),
    "target without attribute": (HOOK + "return [Component('x', 'm')]", "component target 'm' is malformed"),
    "target that is no text": (HOOK + "return [Component('x', None)]", "component target None is malformed"),
    "one name twice": (
        HOOK + "return [Component('x', 'm:a'), Component('x', 'm:b')]",
        "a-plugin brings the backbone 'x' twice",
    ),
    "attributes that raise": (HEAD + "def __getattr__(name):\n    raise OSError(name)", "implements no hook"),
    "syntax error": ("def", "importing a_plugin failed: SyntaxError"),
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Write a distribution with one module, ready to be found in this process."""

    def install(source, distribution="A_Plugin", module="a_plugin", entry_points=None):
        (tmp_path / f"{module}.py").write_text(source)
        folder = tmp_path / f"{distribution}-2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2\n")
        text = entry_points or f"[halocline.plugins]\nmine = {module}\n"
        (folder / "entry_points.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


@pytest.fixture
def fresh_registry():
    """Let the registry of this process be built anew, here and after the test."""
    registry.cache_clear()
    yield registry
    registry.cache_clear()


def found(distribution="a-plugin"):
    """The report on one distribution; the box must be well beside it."""
    plugins = discover()
    assert {p.status for p in plugins if p.distribution == "halocline"} == {"ok"}
    (plugin,) = [p for p in plugins if p.distribution == distribution]
    return plugin


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named(install, fault):
    source, reason = FAULTS[fault]
    install(source)
    plugin = found()
    assert (plugin.status, plugin.version, plugin.components) == ("failed", "2", ())
    assert reason in plugin.reason
    assert plugin.fix
    assert "\n" not in plugin.reason + plugin.fix


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[halocline.plugins]\na line without a sign\n", "cannot be read"),
        (b"[halocline.plugins]\nmine = \xff", "cannot be read"),
        ("[halocline.plugins]\nmine = not a module!\n", "importing not a module! failed"),
        ("[halocline.plugins]\nmine = a_plugin:halocline_api\n", "is no module"),
    ],
)
def test_damaged_metadata_are_reported(install, text, reason):
    install(HOOK + "return []", entry_points=text)
    assert reason in found().reason


def test_one_module_behind_two_entry_points_counts_once(install):
    points = "[halocline.plugins]\none = a_plugin\ntwo = a_plugin\n"
    install(HOOK + "return [Component('x', 'm:a')]", entry_points=points)
    statuses = {p.entry_point: p.status for p in discover() if p.distribution == "a-plugin"}
    assert statuses == {"one": "ok", "two": "failed"}


def test_what_a_plugin_writes_into_the_stamped_fields_is_ignored(install):
    install(HOOK + "return [Component('x', 'm:a', kind='zoo', distribution='halocline')]")
    (component,) = found().components
    assert component == Component("x", "m:a", kind="backbone", distribution="a-plugin")


def test_keyboard_interrupt_passes(install):
    install("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover()


def test_random_state_is_put_back(install):
    install("import random\nrandom.seed(0)\n" + HOOK + "return []")
    before = random.getstate()
    assert found().reason == "importing it changed the state of random; that was put back"
    assert random.getstate() == before


def test_torch_is_put_back(install):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    install("import torch\ntorch.set_default_dtype(torch.float64)\ntorch.manual_seed(0)\n" + HOOK + "return []")
    before = torch.get_rng_state()
    assert found().reason == (
        "importing it changed the state of torch's generator, torch's default dtype; that was put back"
    )
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(torch.get_rng_state(), before)


def test_target_that_changes_the_process_is_put_back_with_a_warning(install, fresh_registry, monkeypatch, caplog):
    monkeypatch.setenv("SWITCH", "off")
    install(HOOK + "return [Component('x', 'a_target:Thing')]")
    install("import os\nos.environ['SWITCH'] = 'on'\nclass Thing: pass", "B", "a_target", "[other]\n")
    assert fresh_registry().load("backbone", "x").__name__ == "Thing"
    assert os.environ["SWITCH"] == "off"
    assert "Importing a-plugin/x changed the environment variable SWITCH" in caplog.text


def test_target_that_leaves_is_an_error(install, fresh_registry):
    install(HOOK + "return [Component('x', 'a_target:Thing')]")
    install("raise SystemExit('no licence')", "B", "a_target", "[other]\n")
    with pytest.raises(PluginError, match=r"a-plugin/x cannot be loaded .* SystemExit: no licence"):
        fresh_registry().load("backbone", "x")
