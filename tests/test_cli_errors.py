"""The command line turns every end into a sentence and an exit status."""

import os
import signal
import subprocess
import sys
from importlib.metadata import version

import pytest

PLUGIN = """
import sys, time
from halocline.errors import StructureError
from halocline.plugin import Component, hookimpl

halocline_api = 2

@hookimpl
def halocline_commands():
    names = ("refuse", "crash", "wait", "talk", "unwritable")
    return [Component(n, f"commands_for_tests:{n}", "for tests") for n in names]

def command(run):
    def configure(parser):
        parser.add_argument("words", nargs="*")
        parser.set_defaults(run=run)
    return configure

@command
def refuse(args):
    raise StructureError("The structure has no atoms; give it at least one.")

@command
def crash(args):
    return {}["key"]

@command
def wait(args):
    try:
        print("waiting", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("work saved", flush=True)
        raise

@command
def talk(args):
    for _ in range(100_000):
        print(*args.words)
    return 0

@command
def unwritable(args):
    open("no such folder/file", "w")
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Start ``halocline`` in a process that has the commands above."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "commands_for_tests.py").write_text(PLUGIN)
    information = folder / "commands_for_tests-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: commands-for-tests\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[halocline.plugins]\ncommands = commands_for_tests\n")

    # Buffered output is what users have, and what a closed pipe is hard on.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}

    def start(*arguments):
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from halocline.cli.main import main; raise SystemExit(main())",
                *arguments,
            ],
            env=environment | {"PYTHONPATH": str(folder)},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="module")
def call(start):
    """Run ``halocline`` to its end; return exit status, standard output and standard error."""

    def call(*arguments):
        process = start(*arguments)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    return call


def test_version(call):
    assert call("--version") == (0, f"halocline {version('halocline')}\n", "")


def test_own_error_is_one_sentence(call):
    assert call("refuse") == (1, "", "halocline: The structure has no atoms; give it at least one.\n")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["cash"], "no command named 'cash'; did you mean 'crash'"),
        (["--bebug"], "unrecognized arguments: --bebug (see 'halocline --help')"),
        (["talk", "--loud"], "unrecognized arguments: --loud (see 'halocline talk --help')"),
        (["plugins", "--js"], "unrecognized arguments: --js (see 'halocline plugins --help')"),
    ],
)
def test_wrong_call_is_status_2(call, arguments, hint):
    status, output, errors = call(*arguments)
    assert (status, output) == (2, "")
    assert errors.startswith("halocline: ")
    assert hint in errors
    assert errors.count("\n") == 1


def test_bug_is_one_sentence_that_says_how_to_see_more(call):
    status, output, errors = call("crash")
    assert (status, output) == (1, "")
    assert errors == "halocline: unexpected KeyError: 'key' (--debug shows where).\n"


def test_file_error_names_the_file(call):
    status, _, errors = call("unwritable")
    assert status == 1
    assert errors == "halocline: [Errno 2] No such file or directory: 'no such folder/file'\n"


@pytest.mark.parametrize("arguments", [["--debug", "crash"], ["crash", "--debug"]], ids=" ".join)
def test_debug_shows_the_traceback_wherever_it_stands(call, arguments):
    status, _, errors = call(*arguments)
    assert status == 1
    assert "Traceback" in errors
    assert 'in crash\n    return {}["key"]' in errors


def test_words_after_two_dashes_are_left_alone(call):
    status, output, _ = call("talk", "--", "--debug")
    assert status == 0
    assert output.startswith("--debug\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_lets_work_be_saved(start, number, status):
    process = start("wait")
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (status, "work saved\n", "")


@pytest.mark.parametrize("arguments", [["--version"], ["plugins", "--json"], ["talk", "words"]], ids=" ".join)
def test_closed_pipe_is_no_error(start, arguments):
    """Much output meets the closed pipe while it is printed, little output when it is flushed."""
    process = start(*arguments)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 128 + signal.SIGPIPE
