"""A stranger's plugin is examined once, in a process of its own, until something changes that it depends on."""

import json
import os
import subprocess
import sys

import pytest

from halocline.plugin import verdicts
from halocline.plugin.registry import discover

MAIN = [sys.executable, "-c", "from halocline.cli.main import main; raise SystemExit(main())"]
HEAD = "from halocline.plugin import Component, hookimpl\nhalocline_api = 2\n"
GOOD = HEAD + "@hookimpl\ndef halocline_pruners():\n    return [Component('half', 'a_target:Half')]\n"


class Site:
    """A folder with one distribution, whose module leaves a line in a file whenever it is imported."""

    def __init__(self, folder):
        self.folder, self.log = folder / "site", folder / "log"
        self.information = self.folder / "a_plugin-1.dist-info"
        self.information.mkdir(parents=True)
        (self.information / "METADATA").write_text("Metadata-Version: 2.1\nName: a-plugin\nVersion: 1\n")
        (self.information / "entry_points.txt").write_text("[halocline.plugins]\nmine = a_plugin\n")
        self.write(GOOD)

    def write(self, source):
        log = f"with open({str(self.log)!r}, 'a') as file: file.write('imported\\n')\n"
        (self.folder / "a_plugin.py").write_text(log + source)

    @property
    def imports(self):
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The folder, found in this process and in those that it starts."""
    site = Site(tmp_path)
    monkeypatch.syspath_prepend(site.folder)
    monkeypatch.setenv("PYTHONPATH", str(site.folder) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    return site


def look(*, anew=False):
    """What a process that has just been started would find out."""
    verdicts._found.clear()
    (plugin,) = [plugin for plugin in discover(anew=anew) if plugin.distribution == "a-plugin"]
    return plugin


def test_verdict_is_kept(site):
    first = look()
    assert (first.status, [c.name for c in first.components]) == ("ok", ["half"])
    assert look() == first
    assert look(anew=True) == first
    assert site.imports == 1


def edit_source(site):
    site.write(GOOD + "\n")


def install_something(site):
    (site.folder / "what_was_missing.py").write_text("")


def upgrade(site):
    (site.information / "METADATA").write_text("Metadata-Version: 2.1\nName: a-plugin\nVersion: 2\n")


def name_another_module(site):
    (site.folder / "another.py").write_text((site.folder / "a_plugin.py").read_text())
    (site.information / "entry_points.txt").write_text("[halocline.plugins]\nmine = another\n")


@pytest.mark.parametrize("change", [edit_source, install_something, upgrade, name_another_module])
def test_change_brings_a_new_verdict(site, change):
    look()
    change(site)
    assert look().status == "ok"
    assert site.imports == 2


def test_bad_verdict_is_kept_until_somebody_asks_why(site, monkeypatch):
    site.write("import os\nassert os.environ.get('LICENCE')\n" + GOOD)
    assert look().status == "failed"
    monkeypatch.setenv("LICENCE", "yes")
    assert look().status == "failed"
    assert site.imports == 1
    assert look(anew=True).status == "ok"
    assert look().status == "ok"
    assert site.imports == 2


def test_nothing_is_examined_twice_in_one_process(site):
    site.write("raise ValueError")
    look()
    discover(anew=True)
    assert site.imports == 1


@pytest.mark.parametrize("obstacle", ["a file", "a missing disk"])
def test_works_without_a_cache(site, tmp_path, monkeypatch, obstacle):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "file") if obstacle == "a file" else "/proc/none")
    assert look().status == "ok"
    assert look().status == "ok"
    assert site.imports == 2


def plant(path):
    """Let the kept verdict name a module of somebody else."""
    kept = json.loads(path.read_text())
    kept["verdict"]["components"][0]["target"] = "evil:Half"
    path.write_text(json.dumps(kept))


@pytest.mark.parametrize("how", ["writable", "folder", "link", "owner"])
def test_planted_verdict_is_not_believed(site, tmp_path, how):
    look()
    (path,) = (tmp_path / "cache" / "plugins").iterdir()
    plant(path)
    if how == "writable":
        path.chmod(0o666)
    elif how == "folder":
        path.parent.chmod(0o777)
    elif how == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        if os.getuid() != 0:
            pytest.skip("only the superuser can give a file away")
        os.chown(path, 12345, 12345)
    assert [c.target for c in look().components] == ["a_target:Half"]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"\xff", b'{"key": 1, "verdict": 2}'])
def test_damaged_verdict_is_made_again(site, tmp_path, damage):
    look()
    (path,) = (tmp_path / "cache" / "plugins").iterdir()
    path.write_bytes(damage)
    assert look().status == "ok"
    assert look().status == "ok"
    assert site.imports == 2


def test_stranger_cannot_pass_for_one_of_ours(site):
    (site.information / "METADATA").write_text("Metadata-Version: 2.1\nName: Halocline\nVersion: 9\n")
    plugins = [p for p in discover() if p.entry_point == "mine"]
    assert [p.status for p in plugins] == ["failed"]
    assert site.imports == 0


@pytest.mark.parametrize(
    "source", ["import os; os._exit(0)", "import ctypes; ctypes.string_at(0)", "print('noise')\n" + GOOD]
)
def test_listing_is_complete_and_json_whatever_a_plugin_does(site, source):
    site.write(source)
    done = subprocess.run([*MAIN, "plugins", "--json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)
    assert {"halocline", "a-plugin"} == {row["distribution"] for row in rows}


def test_only_what_is_used_is_imported(site):
    look()
    loaded = "import sys; from halocline.cli.main import main; main(['plugins']); print('a_plugin' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert site.imports == 1


@pytest.mark.parametrize("name", ["run", "halocline/run", "greet", "a-plugin/greet"])
def test_command_is_selected_by_its_name_and_its_full_name(site, name):
    site.write(
        HEAD + "@hookimpl\ndef halocline_commands():\n    return [Component('greet', 'a_target:add', '5 %')]\n"
    )
    (site.folder / "a_target.py").write_text(
        "print('imported')\ndef add(parser):\n    parser.set_defaults(run=lambda options: print('hello') or 0)\n"
    )
    done = subprocess.run([*MAIN, name, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: halocline {name} ")
    if "greet" in name:
        done = subprocess.run([*MAIN, name], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "imported\n")


@pytest.mark.parametrize(
    ("target", "message"),
    [("import os; os._exit(0)", "It ended the process without a word."), ("import os; os.abort()", "SIGABRT")],
)
@pytest.mark.slow  # imports torch
def test_conformance_of_what_crashes_is_a_failure(site, target, message):
    (site.folder / "a_target.py").write_text(target)
    done = subprocess.run(
        [*MAIN, "plugins", "check", "half", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] is False
    assert [(r["check"], r["component"]) for r in answer["results"]] == [("process", "a-plugin/half")]
    assert message in answer["results"][0]["message"]
