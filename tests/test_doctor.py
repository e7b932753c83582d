"""``halocline doctor``: every way in which a backend can fail is told apart, and hurts nobody else."""

import json
import subprocess

import pytest
from fake_backends import EXECUTORS, MAIN, install

from halocline.doctor import examine

#: Seconds that a backend gets in these tests: many times what a sound one needs.
LIMIT = 60.0

SLOW = pytest.mark.slow  # a process that imports torch for each


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Let processes that are started from here find the fake backends."""
    for name, value in install(tmp_path).items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def doctor(tmp_path_factory):
    """Run ``halocline doctor`` in a process that has the fake backends."""
    environment = install(tmp_path_factory.mktemp("plugin"))

    def doctor(*arguments):
        done = subprocess.run(
            [*MAIN, "doctor", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return doctor


@pytest.mark.usefixtures("fakes")
def test_sound_backend_is_diagnosed_and_computes_right():
    found = examine("sound", "", LIMIT)
    assert (found.backend, found.status, found.reason) == ("sound", "ok", "")
    assert found.diagnosis["details"] == {"kernels": "eager"}
    assert found.variants == ("", "speed=2", "speed=9")
    (test,) = found.tests
    assert test.precision == "float64"
    assert test.energy_error <= test.energy_tolerance
    assert test.force_error <= test.force_tolerance
    assert test.repeats > 1


@pytest.mark.usefixtures("fakes")
def test_missing_package_is_told_in_the_words_of_the_backend():
    found = examine("absent", "", LIMIT)
    assert (found.status, found.tests) == ("unusable", ())
    assert found.reason == "The package fake-runtime is missing: pip install fake-runtime."


@pytest.mark.parametrize("name", ["wrong", *(pytest.param(n, marks=SLOW) for n in ("racing", "silent"))])
@pytest.mark.usefixtures("fakes")
def test_wrong_numbers_are_seen(name):
    """Off by a millionth, off at every fifth call, or not finite."""
    found = examine(name, "", LIMIT)
    assert found.status == "wrong"
    assert "in float64 differ" in found.reason
    assert not found.tests[0].passed


@SLOW
@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("crashing", "failed", "It was ended by SIGSEGV."),
        ("leaving", "failed", "It ended the process without a word."),
        ("raising", "failed", "OSError: libfake.so.2: cannot open shared object file"),
        ("unloadable", "unusable", "cannot be loaded"),
    ],
)
@pytest.mark.usefixtures("fakes")
def test_other_ends_are_told_apart(name, status, reason):
    found = examine(name, "", LIMIT)
    assert found.status == status
    assert reason in found.reason


@SLOW
@pytest.mark.usefixtures("fakes")
def test_hanging_backend_is_ended():
    found = examine("hanging", "seconds=600", 15.0)
    assert (found.status, found.reason) == ("failed", "It did not end within 15 s.")


@SLOW
@pytest.mark.usefixtures("fakes")
def test_variant_that_this_machine_lacks_is_unusable():
    assert examine("sound", "speed=2", LIMIT).status == "ok"
    found = examine("sound", "speed=9", LIMIT)
    assert (found.status, found.reason) == ("unusable", "This machine has no speed above 2.")


@SLOW
@pytest.mark.exhaustive
def test_all_backends_are_reported_whatever_some_of_them_do(doctor):
    status, output, errors = doctor("--json")
    assert (status, errors) == (1, "")
    report = json.loads(output)
    found = {row["backend"]: row["status"] for row in report["backends"]}
    fakes = {name: found.pop(name) for name in EXECUTORS}
    assert found["torch"] == "ok"
    assert set(found.values()) <= {"ok", "unusable"}
    assert {name for name, status in fakes.items() if status in ("ok", "unusable")} == {
        "sound",
        "hanging",
        "absent",
        "unloadable",
    }
    assert set(report["machine"]) == {
        *("processor", "cores", "memory", "system", "python", "halocline", "native code", "Triton"),
    }


def test_time_limit_that_is_none_is_refused(doctor):
    status, output, errors = doctor("--limit", "0")
    assert (status, output) == (2, "")
    assert errors == "halocline: --limit must be a time above 0 s, not 0.\n"
