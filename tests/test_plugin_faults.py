"""Whatever a plugin module holds, discovery says in one line what is wrong with it."""

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from halocline.errors import PluginError
from halocline.plugin import Component, apart, registry
from halocline.plugin.hooks import MIGRATION
from halocline.plugin.registry import discover
from halocline.plugin.switches import SWITCHES

HEAD = "from halocline.plugin import Component, hookimpl\nhalocline_api = 2\n"
HOOK = HEAD + "@hookimpl\ndef halocline_backbones():\n    "

FAULTS = {
    "no API version": (
        "from halocline.plugin import hookimpl",
        "states no halocline_api",
    ),
    "API version that is no number": ("halocline_api = '1'", "states halocline_api = '1'"),
    "older API version": (HEAD + "halocline_api = 1", "a-plugin is the older one"),
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
    "API version that is a truth value": ("halocline_api = True", "states halocline_api = True"),
    "summary that is no text": (HOOK + "return [Component('x', 'm:a', 3)]", "component summary 3 is malformed"),
    "summary of two lines": (HOOK + "return [Component('x', 'm:a', 'a\\nb')]", "component summary 'a\\nb' is"),
    "escape sequence in a summary": (
        HOOK + "return [Component('x', 'm:a', '\\x1b[2J')]",
        "'\\x1b[2J' is malformed",
    ),
    "Ctrl-C of its own": ("raise KeyboardInterrupt", "importing a_plugin failed: KeyboardInterrupt"),
    "error of no known root": ("class E(BaseException): pass\nraise E('no')", "failed: E: no"),
    "error without words": (
        "class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E",
        "failed: E: (it cannot even say so: ValueError)",
    ),
    "error with half a character": ("raise ValueError('\\ud800')", "failed: ValueError: \\ud800"),
    "result without words": (
        HEAD + "class R:\n    def __repr__(self):\n        raise SystemExit\n"
        "@hookimpl\ndef halocline_zoos():\n    return R()",
        "halocline_zoos returned (it cannot even say so: SystemExit)",
    ),
    "result that is endless": (HOOK + "return 'x' * 10**7", "halocline_backbones returned 'xxx"),
    "end of the process": (
        "import os\nos._exit(0)",
        "in a process of its own it ended the process without a word",
    ),
    "end of the process in a hook": (
        "import os\n" + HOOK + "os._exit(3)",
        "in a process of its own it left with status 3",
    ),
    "segmentation fault": ("import ctypes\nctypes.string_at(0)", "it was ended by SIGSEGV"),
    "abortion": ("import os\nos.abort()", "it was ended by SIGABRT"),
    "endless recursion": ("def f():\n    f()\nf()", "failed: RecursionError"),
    "recursion without limit": (
        "import sys\nsys.setrecursionlimit(10**9)\nclass C:\n    def __repr__(self):\n"
        "        return repr([self])\nrepr(C())",
        "",
    ),
    "more output than a disk should take": (
        "import sys\nwhile True:\n    sys.stdout.write('x' * 10**6)",
        "failed: OSError: [Errno 27] File too large",
    ),
    "more memory than there is": ("x = bytearray(10**11)", "failed: MemoryError"),
    "thread that goes on": (
        HEAD + "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), name='loop').start()\n"
        "@hookimpl\ndef halocline_zoos():\n    return []",
        "importing it starts the thread 'loop'",
    ),
    "search for itself": (
        "from halocline.plugin import registry\nregistry().find('zoo', 'mine')",
        "failed: UsageError: There is no zoo named 'mine'",
    ),
}

#: What a plugin may do while it is imported without hurting anybody.
HARMLESS = {
    "output": "print('Welcome!')\n",
    "output of compiled code": "import ctypes\nctypes.CDLL(None).puts(b'Welcome!')\n",
    "closed streams": "import sys\nsys.stdout.close()\nsys.stderr.close()\nsys.__stdout__.close()\n",
    "closed files": "import os\nos.close(0)\nos.close(1)\nos.close(2)\n",
    "function for the end": "import atexit, time\natexit.register(time.sleep, 99)\n",
    "daemon thread": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n"
    ),
    "processes left behind": "import subprocess\n[subprocess.Popen(['sleep', '99']) for _ in range(20)]\n",
    "output of its children": "import subprocess\nsubprocess.run(['echo', 'Welcome!'])\n",
}

#: What a plugin must leave alone, and what the report calls it.
CHANGES = {
    "os.chdir('/')": "the working folder",
    "os.umask(0)": "the umask",
    "os.environ['A_SWITCH'] = '1'": "the environment variable A_SWITCH",
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)": "signal handlers",
    "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])": "blocked signals",
    "signal.alarm(1000)": "the alarm clock",
    "resource.setrlimit(resource.RLIMIT_NOFILE, (99, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))": (
        "limits of resources"
    ),
    "sys.path.insert(0, '/nowhere')": "the search path",
    "sys.path = []": "the search path",
    "sys.argv.append('--evil')": "sys.argv",
    "sys.setrecursionlimit(77777)": "the recursion limit",
    "sys.setswitchinterval(1.0)": "the switch interval",
    "sys.set_int_max_str_digits(0)": "the number of digits",
    "sys.excepthook = print": "the hook for errors",
    "sys.setprofile(lambda *_: None)": "the profile function",
    "del sys.modules['json']": "loaded modules",
    "sys.modules['json'] = sys": "loaded modules",
    "builtins.print = None": "builtins",
    "builtins.extra = 1": "builtins",
    "gc.disable()": "garbage collection",
    "warnings.showwarning = print": "the display of warnings",
    "locale.setlocale(locale.LC_ALL, 'C.UTF-8' if locale.setlocale(locale.LC_ALL) == 'C' else 'C')": "the locale",
    "logging.disable(logging.ERROR)": "logging",
    "logging.basicConfig(level=1, force=True)": "logging",
    "socket.setdefaulttimeout(1.0)": "the timeout of sockets",
    "random.seed(0)": "the state of random",
}
IMPORTS = (
    "import builtins, gc, json, locale, logging, os, random, resource, signal, socket, sys, warnings\n"
    "from halocline.plugin import Component, hookimpl\n"
)

#: The same for libraries that a plugin in use finds loaded, or loads.
HEAVY_CHANGES = {
    "numpy.random.seed(0)": "the state of numpy.random",
    "numpy.seterr(all='ignore')": "NumPy's treatment of errors",
    "torch.manual_seed(0)": "the state of torch's generator",
    "torch.set_default_dtype(torch.float64)": "torch's default dtype",
    "torch.set_default_device('meta')": "torch's default device",
    "torch.set_grad_enabled(False)": "torch's grad mode",
    "torch.set_float32_matmul_precision('medium')": "torch's precision of matrix products",
    "torch.use_deterministic_algorithms(True)": "torch's deterministic algorithms",
    "torch.set_num_threads(3)": "torch's number of threads",
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Write a distribution with one module, ready to be found in this process."""
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))

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


def test_plugin_of_an_older_api_is_sent_to_the_page_that_says_what_changed(install):
    install(FAULTS["older API version"][0])
    assert MIGRATION in found().fix
    assert (Path(__file__).parents[1] / MIGRATION).is_file()


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


@pytest.mark.parametrize("harmless", HARMLESS)
def test_what_a_plugin_prints_or_leaves_behind_is_no_fault(install, harmless, capfd):
    install(HARMLESS[harmless] + HOOK + "return [Component('x', 'm:a')]")
    before = time.monotonic()
    plugin = found()
    assert time.monotonic() - before < 60.0  # nobody waits for what it left behind
    assert (plugin.status, plugin.reason) == ("ok", "")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("source", ["while True: pass", HOOK + "while True: pass"], ids=["import", "hook"])
def test_plugin_that_hangs_is_ended(install, source, monkeypatch):
    monkeypatch.setattr(apart, "PATIENCE", 3.0)
    install(source)
    assert found().reason == "in a process of its own it did not end within 3 s"


def test_family_of_a_plugin_that_hangs_is_ended(install, tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "PATIENCE", 3.0)
    pids = tmp_path / "pids"
    install(
        f"import os, time\nfor _ in range(4): os.fork()\nopen({str(pids)!r}, 'a').write(f'{{os.getpid()}} ')\n"
        "time.sleep(999)"
    )
    assert "did not end" in found().reason
    family = [int(pid) for pid in pids.read_text().split()]
    assert len(family) == 16
    deadline = time.monotonic() + 60.0
    while any(is_running(pid) for pid in family) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in family)


def is_running(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("change", CHANGES)
def test_change_of_the_process_is_reported_and_stays_outside(install, change):
    install(f"{IMPORTS}{change}\n{HOOK}return []")
    state = {
        switch: switch.read(sys.modules[switch.module]) for switch in SWITCHES if switch.module in sys.modules
    }
    plugin = found()
    assert (plugin.status, plugin.reason) == ("warned", f"importing it changes {CHANGES[change]}")
    for switch, before in state.items():
        assert not switch.differs(before, switch.read(sys.modules[switch.module])), switch.label


# The clock of the test run may be set: it says how long a test may take.
@pytest.mark.parametrize("change", [c for c in CHANGES | HEAVY_CHANGES if "alarm" not in c])
def test_change_by_a_target_is_put_back_with_a_warning(install, fresh_registry, change, caplog):
    install(HOOK + "return [Component('x', 'a_target:Thing')]")
    install(f"{IMPORTS}import numpy, torch\n{change}\nclass Thing: pass", "B", "a_target", "[other]\n")
    known = fresh_registry()
    state = {
        switch: switch.read(sys.modules[switch.module]) for switch in SWITCHES if switch.module in sys.modules
    }
    assert known.load("backbone", "x").__name__ == "Thing"
    for switch, before in state.items():
        assert not switch.differs(before, switch.read(sys.modules[switch.module])), switch.label
    assert "Importing a-plugin/x changed" in caplog.text
    assert (CHANGES | HEAVY_CHANGES)[change] in caplog.text


def test_warning_filters_are_put_back_without_a_word(install, fresh_registry, caplog):
    """Libraries of good repute silence their own warnings."""
    install(HOOK + "return [Component('x', 'a_target:Thing')]")
    install("import warnings\nwarnings.simplefilter('ignore')\nclass Thing: pass", "B", "a_target", "[other]\n")
    fresh_registry().load("backbone", "x")
    with pytest.raises(UserWarning, match="still an error"):
        warnings.warn("still an error", stacklevel=1)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "harmless", [name for name in HARMLESS if name not in ("function for the end", "processes left behind")]
)
def test_output_of_a_target_goes_to_standard_error(install, harmless):
    """In a process of its own, since some of it closes the very streams."""
    install(HOOK + "return [Component('x', 'a_target:Thing')]")
    install(f"{HARMLESS[harmless]}class Thing: pass", "B", "a_target", "[other]\n")
    script = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from halocline.plugin import registry\nregistry().load('backbone', 'x')\n"
        "print('data'); sys.__stdout__.flush(); print('message', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "data\n"
    assert done.stderr in ("message\n", "Welcome!\nmessage\n")


def test_target_that_changes_the_process_is_put_back_with_a_warning(install, fresh_registry, monkeypatch, caplog):
    monkeypatch.setenv("SWITCH", "off")
    install(HOOK + "return [Component('x', 'a_target:Thing')]")
    install("import os\nos.environ['SWITCH'] = 'on'\nclass Thing: pass", "B", "a_target", "[other]\n")
    assert fresh_registry().load("backbone", "x").__name__ == "Thing"
    assert os.environ["SWITCH"] == "off"
    assert "Importing a-plugin/x changed the environment variable SWITCH; what can be" in caplog.text


def test_target_that_leaves_is_an_error(install, fresh_registry):
    install(HOOK + "return [Component('x', 'a_target:Thing')]")
    install("raise SystemExit('no licence')", "B", "a_target", "[other]\n")
    with pytest.raises(PluginError, match=r"a-plugin/x cannot be loaded .* SystemExit: no licence"):
        fresh_registry().load("backbone", "x")
