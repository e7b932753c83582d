"""Ranks start a few at a time, nobody outside can reach them, and none outlives its driver, whenever that dies."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from ddp_setups import (
    backbone,
    distributed,
    has_ended,
    liquid,
    local,
    rank_processes,
    require_equal,
    wait_until,
)

from halocline.backends.ddp import doors, muster
from halocline.backends.ddp.doors import NetworkDoor, NodeDoor, knock
from halocline.backends.ddp.joining import refuse_other_work
from halocline.backends.ddp.messages import Assignment
from halocline.backends.ddp.model import PortableModel
from halocline.cli.main import main
from halocline.errors import DistributedError, UsageError
from halocline.lifeline import TiedProcess
from halocline.place import RANKS_PER_CORE, usable_cores
from halocline.program import Precision

#: Starts two ranks; their processes can be found by their parent.
DRIVER = """
import sys, threading
sys.path[:0] = [{tests!r}]
from ddp_setups import backbone, distributed
print("begin", flush=True)
def work():
    global evaluator
    evaluator = distributed(backbone("lennard-jones"), ranks=2)
{start}
print("ready", flush=True)
sys.stdin.read()
"""
#: The thread that starts the ranks ends, and the driver goes on.
STARTS = {"main thread": "work()", "short thread": "t = threading.Thread(target=work); t.start(); t.join()"}


def driver(start):
    """A program that starts ranks."""
    text = DRIVER.format(tests=str(Path(__file__).parent), start=STARTS[start])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", text], text=True, **pipes)
    assert process.stdout.readline() == "begin\n"
    return process


def in_session_of(pids):
    """Processes that were started by ranks, and these."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
        except OSError:
            continue
        if session in pids:
            found.add(int(folder.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    "delay",
    [0.0, 0.05, 0.5, 2.0, *(pytest.param(each, marks=pytest.mark.exhaustive) for each in (0.01, 0.2, 1.0, 4.0))],
)
def test_no_rank_outlives_a_driver_that_is_killed_while_they_start(start, delay):
    process = driver(start)
    ranks = {}
    wait_until(lambda: ranks.update(rank_processes(process.pid)) or ranks)
    time.sleep(delay)
    ranks.update(rank_processes(process.pid))
    process.kill()
    process.communicate()
    wait_until(lambda: all(map(has_ended, in_session_of(ranks) | set(ranks))))


@pytest.mark.slow
def test_no_rank_outlives_a_driver_that_is_killed_on_a_loaded_machine():
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4 * usable_cores())]
    try:
        test_no_rank_outlives_a_driver_that_is_killed_while_they_start("main thread", 0.3)
    finally:
        for process in busy:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_ranks_live_on_when_the_thread_that_started_them_has_ended():
    process = driver("short thread")
    assert process.stdout.readline() == "ready\n"
    ranks = list(rank_processes(process.pid))
    time.sleep(1.0)
    assert len(ranks) == 2
    assert not any(map(has_ended, ranks))
    process.communicate()
    wait_until(lambda: all(map(has_ended, ranks)))


#: Modules that a tied process may be, in the order of what they have got to.
MOMENTS = {
    "asleep": "import time; print('up', flush=True); time.sleep(600)",
    "at work without an end": "print('up', flush=True)\nwhile True: pass",
    "in a call that lets no thread in": "import re; print('up', flush=True); re.match('(a+)+b', 'a' * 60)",
    "deaf": "import signal, time\nfor n in (15, 2, 1, 29): signal.signal(n, signal.SIG_IGN)\n"
    "print('up', flush=True); time.sleep(600)",
    "with children": "import subprocess, sys, time\n"
    "subprocess.Popen(['sleep', '600']); print('up', flush=True); time.sleep(600)",
}
STARTER = """
import os, subprocess, sys
from halocline.lifeline import TiedProcess
processes = [TiedProcess("tied_module", [], stdout=subprocess.PIPE) for _ in range(2)]
for process in processes: assert process.stdout.readline() == b"up\\n"
if sys.argv[1:] and os.fork() == 0:
    os.close(0), os.close(1)
    import time
    time.sleep(600)
print(*[process.pid for process in processes], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("forked", [[], ["forked"]], ids=["alone", "with a fork of the starter"])
@pytest.mark.parametrize("module", MOMENTS.values(), ids=MOMENTS)
def test_a_tied_process_ends_with_its_starter_whatever_it_does(tmp_path, module, forked):
    (tmp_path / "tied_module.py").write_text(module)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, *forked],
        env=os.environ | {"PYTHONPATH": path},
        text=True,
        start_new_session=True,
        **pipes,
    )
    tied = set(map(int, starter.stdout.readline().split()))
    assert len(tied) == 2
    everybody = in_session_of(tied)
    starter.kill()
    try:
        wait_until(lambda: all(map(has_ended, everybody)))
    finally:
        os.killpg(starter.pid, signal.SIGKILL)  # the fork of the starter, which outlives it
        starter.communicate()


def test_a_tied_process_is_killed_that_finds_its_starter_gone(tmp_path):
    """Before it could tell the system to do so."""
    from halocline import tied

    watched, held = os.pipe()
    os.close(held)
    process = subprocess.Popen(
        [sys.executable, "-P", tied.__file__, str(watched), "json.tool", "--help"],
        pass_fds=[watched],
        start_new_session=True,
        stdout=subprocess.PIPE,
    )
    os.close(watched)
    assert process.communicate()[0] == b""
    assert process.returncode == -signal.SIGKILL


def test_a_tied_process_imports_nothing_before_it_is_tied():
    """In an interpreter that has loaded nothing but what Python needs itself."""
    from halocline import tied

    text = (
        f"import sys; before = set(sys.modules); text = open({tied.__file__!r}).read(); "
        "exec(compile(text, 'tied', 'exec'), {'__name__': 'tied'}); print(*sorted(set(sys.modules) - before))"
    )
    said = subprocess.run(
        [sys.executable, "-S", "-I", "-c", text], capture_output=True, text=True, check=True, env={}
    ).stdout.split()
    heavy = [name for name in said if name.split(".")[0] in ("halocline", "numpy", "torch", "typing", "asyncio")]
    assert not heavy


def pipes_of(process):
    """Names of the pipes that a process holds; what it opens and closes meanwhile is left out."""
    found = set()
    for each in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(each.readlink()))
    return {name for name in found if name.startswith("pipe:")}


def test_pipes_are_not_passed_to_other_processes():
    """One rank that held the pipe of another would keep it alive."""
    ours_before = pipes_of("self")
    processes = [
        TiedProcess("timeit", ["-n1", "-r1", "import time; time.sleep(60)"], stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    try:
        wait_until(lambda: all(b"tied.py" in Path(f"/proc/{p.pid}/cmdline").read_bytes() for p in processes))
        one, other = (pipes_of(process.pid) for process in processes)
        assert one - other
        assert not (one & other) - ours_before
    finally:
        for process in processes:
            process.end()
    assert [process.returncode for process in processes] == 2 * [-signal.SIGKILL]


def test_crowds_are_refused_before_anything_starts(monkeypatch):
    most, before = RANKS_PER_CORE * usable_cores(), rank_processes(os.getpid())
    with pytest.raises(
        UsageError, match=rf"^{most + 1} ranks are more than 4 .* at most {most}, or say oversubscribe"
    ):
        distributed(backbone("lennard-jones"), ranks=most + 1)
    assert rank_processes(os.getpid()) == before
    started = []
    monkeypatch.setattr(
        "halocline.backends.ddp.evaluator.start_ranks",
        lambda ranks, _: started.append(ranks) or SimpleNamespace(replaced=()),
    )
    distributed(backbone("lennard-jones"), ranks=most)
    distributed(backbone("lennard-jones"), ranks=most + 1, oversubscribe=True)
    assert started == [most, most + 1]


def test_the_command_says_how_crowds_are_allowed(capsys):
    water = str(Path(__file__).parents[1] / "examples" / "water.extxyz")
    words = ["run", water, "-m", "water-revpbe0d3-schnet", "--device", "cpu", "--backend"]
    assert main([*words, "ddp:ranks=2000"]) == 2
    assert "say oversubscribe=true" in capsys.readouterr().err
    assert main([*words, "ddp:ranks=2,oversubscribe=perhaps"]) == 2
    assert "must be true or false, not 'perhaps'" in capsys.readouterr().err


@pytest.mark.slow
def test_ranks_start_in_waves(monkeypatch):
    monkeypatch.setattr(muster, "usable_cores", lambda: 1)
    model, done, starting = backbone("lennard-jones"), threading.Event(), []

    def watch():
        while not done.wait(0.05):
            young = [
                p for p in rank_processes(os.getpid()) if b"libtorch" not in Path(f"/proc/{p}/maps").read_bytes()
            ]
            starting.append(len(young))

    before = rank_processes(os.getpid())
    assert not before
    watcher = threading.Thread(target=watch)
    watcher.start()
    evaluator = distributed(model, ranks=3)
    done.set()
    watcher.join()
    structure = liquid(model)
    require_equal(evaluator.evaluate(structure), local(model).evaluate(structure))
    evaluator.close()
    assert max(starting) == 1


def listening(pids):
    """Addresses at which processes listen, as ``ss -ltn`` says."""
    said = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout
    return [line.split()[3] for line in said.splitlines() if any(f"pid={pid}," in line for pid in pids)]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ss") is None, reason="ss of iproute2 is not installed")
def test_nobody_listens_to_the_network():
    """While ranks start, evaluate and exchange, with what they need to exchange."""
    found, done, me = [], threading.Event(), os.getpid()
    before = set(listening([me]))

    def watch():
        while not done.wait(0.05):
            found.extend(set(listening([me, *rank_processes(me)])) - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    model = backbone("schnet")
    evaluator = distributed(model, halo="exchange")
    evaluator.evaluate(liquid(model))
    found.extend(listening(rank_processes(me)))
    done.set()
    watcher.join()
    evaluator.close()
    assert found  # of gloo
    assert all(re.match(r"127\.0\.0\.1:|\[::1\]:", address) for address in found), sorted(set(found))


def test_ranks_of_a_node_are_known_by_their_user(monkeypatch):
    with NodeDoor() as door:
        sock = knock(door.address, 5.0, on_node=True)
        inside = door.accept(5.0)
        sock.close()
        inside.close()
        monkeypatch.setattr(doors.os, "geteuid", lambda: 12345)
        with pytest.raises(doors.AuthenticationError, match="process of user"):  # so a rank does not trust others
            knock(door.address, 5.0, on_node=True)
        with pytest.raises(doors.AuthenticationError, match="process of user"):  # nor does a driver
            door.accept(5.0)


def test_ranks_of_several_nodes_are_known_by_a_key():
    with NetworkDoor("127.0.0.1", 2) as door:
        met = []
        thread = threading.Thread(target=lambda: met.append(door.accept(5.0)))
        thread.start()
        sock = knock(door.address, 5.0, on_node=False)
        thread.join(10.0)
        sock.close()
        (inside,) = met
        inside.close()
        host, port, _ = door.address.split()
        refused = []

        def refuse():
            with pytest.raises((doors.AuthenticationError, OSError, EOFError)) as error:
                door.accept(5.0)
            refused.append(error.type)

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises((doors.AuthenticationError, OSError, EOFError)):
            knock(f"{host} {port} {'00' * 32}", 5.0, on_node=False)
        thread.join(10.0)
        assert refused


@pytest.mark.parametrize("address", ["", "one two", "host port key", "127.0.0.1 1 xyz"])
def test_addresses_that_are_none_are_errors_to_try_again_after(address):
    with pytest.raises((ValueError, TypeError, OSError)):
        knock(address, 1.0, on_node=False)


def test_a_rank_does_only_what_it_was_called_for():
    model = PortableModel.of(backbone("lennard-jones"))
    asked = Assignment(model, Precision.FLOAT64, "torch", "cpu", exchange=False, timeout=5.0)
    refuse_other_work(asked, model.digest, "torch")
    for digest, inner in ((model.digest, "onnx"), ("other", "torch")):
        with pytest.raises(DistributedError, match="make the same evaluator everywhere"):
            refuse_other_work(asked, digest, inner)
