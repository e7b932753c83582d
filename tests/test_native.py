"""C++ is compiled once for a machine, kept safely, and computes the same whatever the threads and the lanes."""

import ctypes
import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from halocline.errors import KernelError
from halocline.native import compiler, libraries, library
from halocline.native.compiler import find_compiler

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")

#: Instruction sets to compile for, all of which run wherever the first one does.
WIDTHS = {"native": (), "256 bits": ("-mno-avx512f",), "plain": ("-march=x86-64",)}

SOURCE = """
#include <cmath>
#include "lanes.h"
#include "rows.h"

template <class T>
void test_sums(const T* x, T* one, T* all) {
  constexpr int L = halo::LANES<T>;
  halo::Vec<T> v[L];
  for (int i = 0; i < L; i++) {
    v[i] = halo::load(x + i * L);
    one[i] = halo::sum(v[i]);
  }
  halo::store(all, halo::sums(v));
}

template <class T>
void test_first(const T* x, T* y, int64_t n) {
  for (int64_t i = 0; i < n; i += halo::LANES<T>) {
    halo::Vec<T> v = halo::load_first(x + i, n - i);
    halo::store_first(y + i, (v < T(0)) ? v * halo::broadcast(T(-2)) : v, n - i);
  }
}

extern "C" {
int lanes() { return halo::LANES<float>; }
void sums_float32(const float* x, float* one, float* all) { test_sums(x, one, all); }
void sums_float64(const double* x, double* one, double* all) { test_sums(x, one, all); }
void first_float32(const float* x, float* y, int64_t n) { test_first(x, y, n); }
void first_float64(const double* x, double* y, int64_t n) { test_first(x, y, n); }
double negative_zero() { return halo::broadcast(-0.0)[0]; }

// Each row is a sum with roundings, and says how often it was written.
void rows(int64_t n, int threads, int terms, double* sums, int* written) {
  halo::for_rows(n, threads, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; row++) {
      double sum = 0;
      for (int k = 1; k <= terms; k++) sum += std::sin(double(row) * k) / k;
      sums[row] = sum;
      written[row]++;
    }
  });
}

// Rows of rows.
void nested(int64_t n, int threads, int* written) {
  halo::for_rows(n, threads, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; row++)
      halo::for_rows(n, threads, [&](int64_t a, int64_t b) {
        for (int64_t column = a; column < b; column++) written[row * n + column]++;
      });
  });
}
}
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of this test alone, for a process that has loaded nothing."""
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(libraries, "_loaded", {})
    libraries._tell.cache_clear()
    return tmp_path / "cache" / "artefacts"


@pytest.fixture(scope="module", params=WIDTHS)
def kernels(request):
    if request.param != "native" and os.uname().machine != "x86_64":
        pytest.skip("other widths are those of x86-64")
    return library("tests", SOURCE, WIDTHS[request.param])


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def rows(loaded, count, threads, terms=50):
    sums, written = np.empty(count), np.zeros(count, np.int32)
    loaded.rows(ctypes.c_int64(count), threads, terms, pointer(sums), pointer(written))
    assert (written == 1).all()
    return sums.tobytes()


def built(cache):
    """When each library was written, in nanoseconds."""
    return {path.name: path.stat().st_mtime_ns for path in cache.glob("*.so")}


def answer(number):
    return f'extern "C" int answer() {{ return {number}; }}'


# ---------------------------------------------------------------- what is in the headers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_of_lanes_have_one_order(kernels, dtype):
    lanes = kernels.lanes() * 4 // np.dtype(dtype).itemsize
    values = np.random.default_rng(7).normal(size=(lanes, lanes)).astype(dtype)
    one, together = np.empty(lanes, dtype), np.empty(lanes, dtype)
    getattr(kernels, f"sums_{dtype}")(pointer(values), pointer(one), pointer(together))
    assert one.tobytes() == together.tobytes()
    np.testing.assert_allclose(one, values.sum(1), rtol=0, atol=lanes * lanes * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [0, 1, 5, 16, 33])
def test_ends_of_arrays_are_neither_read_nor_written_beyond(kernels, dtype, count):
    values = np.arange(count, dtype=dtype) - 3
    found = np.full(count + 1, 7, dtype)
    getattr(kernels, f"first_{dtype}")(pointer(values), pointer(found), ctypes.c_int64(count))
    np.testing.assert_array_equal(found, [*np.where(values < 0, -2 * values, values), 7])


def test_zeros_keep_their_sign(kernels):
    kernels.negative_zero.restype = ctypes.c_double
    assert np.signbit(kernels.negative_zero())


# ---------------------------------------------------------------- threads


@pytest.mark.parametrize("count", [0, 1, 2, 3, 17, 1000])
def test_threads_change_no_bit(kernels, count):
    alone = rows(kernels, count, 1)
    assert all(rows(kernels, count, threads) == alone for threads in (2, 3, 8))


def test_calls_within_calls_do_every_row_once(kernels):
    written = np.zeros((40, 40), np.int32)
    kernels.nested(ctypes.c_int64(40), 3, pointer(written))
    assert (written == 1).all()


def test_callers_at_once_get_what_they_get_alone(kernels):
    alone, found = rows(kernels, 500, 1), []

    def ask():
        found.extend(rows(kernels, 500, 2) for _ in range(50))

    callers = [threading.Thread(target=ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert found == [alone] * 200


def test_libraries_share_one_pool(cache):
    def threads():
        return len(list(Path("/proc/self/task").iterdir()))

    if not Path("/proc/self/task").is_dir():
        pytest.skip("threads are counted in /proc")
    rows(library("a", SOURCE), 1000, 3)
    before = threads()
    rows(library("b", SOURCE + "// b"), 1000, 3)
    assert threads() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_has_a_pool_of_its_own(kernels, busy):
    alone, stop = rows(kernels, 300, 2), threading.Event()

    def work():
        while not stop.is_set():
            rows(kernels, 3000, 2)

    worker = threading.Thread(target=work)
    if busy:
        worker.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                os._exit(0 if all(rows(kernels, 300, 3) == alone for _ in range(5)) else 1)
            deadline = time.monotonic() + 60
            while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
                if time.monotonic() > deadline:
                    os.kill(child, 9)
                    os.waitpid(child, 0)
                    pytest.fail("the fork hangs")
                time.sleep(0.005)
            assert ended[1] == 0
        assert rows(kernels, 300, 2) == alone
    finally:
        stop.set()
        if busy:
            worker.join()


# ---------------------------------------------------------------- what is kept


def test_the_second_process_finds_what_the_first_built(cache, monkeypatch):
    assert library("answer", answer(1)).answer() == 1
    first = built(cache)
    monkeypatch.setattr(libraries, "_loaded", {})
    assert library("answer", answer(1)).answer() == 1
    assert built(cache) == first
    assert len(first) == 1


def test_a_process_loads_a_library_once(cache):
    assert library("answer", answer(1)) is library("answer", answer(1))


@pytest.mark.parametrize("changed", ["source", "flags", "headers", "compiler"])
def test_whatever_changes_is_compiled_anew(cache, changed, tmp_path, monkeypatch):
    source = '#include "number.h"\n#ifndef EXTRA\n#define EXTRA 0\n#endif\n'
    source += 'extern "C" int answer() { return NUMBER + EXTRA; }'
    headers = tmp_path / "include"
    headers.mkdir()
    (headers / "number.h").write_text("#define NUMBER 1")
    for module in (libraries, compiler):
        monkeypatch.setattr(module, "HEADERS", headers)
    assert library("answer", source).answer() == 1
    monkeypatch.setattr(libraries, "_loaded", {})
    if changed == "compiler":
        script = tmp_path / "another-g++"
        script.write_text(f'#!/bin/sh\necho "another compiler" >&2\nexec {find_compiler()} -DEXTRA=1 "$@"\n')
        script.chmod(0o755)
        monkeypatch.setenv("CXX", str(script))
    if changed == "headers":
        (headers / "number.h").write_text("#define NUMBER 2")
    other = source.replace("EXTRA;", "EXTRA + 1;") if changed == "source" else source
    assert library("answer", other, ("-DEXTRA=1",) if changed == "flags" else ()).answer() == 2
    assert len(built(cache)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"),
        lambda path: path.write_bytes(b""),
        lambda path: path.with_suffix(".json").unlink(),
    ],
    ids=["bytes", "emptied", "no digest"],
)
def test_what_is_damaged_is_not_run_but_built_again(cache, damage, monkeypatch, caplog):
    library("answer", answer(1))
    (path,) = cache.glob("*.so")
    right = hashlib.sha256(path.read_bytes()).digest()
    path.chmod(0o600)
    damage(path)
    monkeypatch.setattr(libraries, "_loaded", {})
    assert library("answer", answer(1)).answer() == 1
    assert "is not used, and built again" in caplog.text
    assert hashlib.sha256(path.read_bytes()).digest() == right


# ---------------------------------------------------------------- what can be wrong


def test_without_a_compiler(cache, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(KernelError, match=r"^There is no C\+\+ compiler here: install g\+\+, or .* CXX\.$"):
        library("answer", answer(1))


def test_what_the_compiler_refuses_is_told_in_its_words(cache):
    with pytest.raises(KernelError, match=r"compile the library 'wrong': wrong.cpp:1:\d+: error: .*nothing"):
        library("wrong", "int answer() { return nothing; }")
    assert not built(cache)


@pytest.mark.parametrize("folder", ["/proc/nothing", "open"])
def test_a_cache_that_cannot_be_used(cache, folder, tmp_path, monkeypatch, caplog):
    if folder == "open":
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        folder = str(tmp_path / "open")
    monkeypatch.setenv("HALOCLINE_CACHE_DIR", folder)
    with caplog.at_level(logging.WARNING):
        for number in (1, 2):
            assert library("answer", answer(number)).answer() == number
    (told,) = [
        each for each in caplog.messages if "Until then native code is compiled anew in every process" in each
    ]
    assert folder in told


def test_what_was_built_is_found_in_a_folder_that_became_read_only(cache, monkeypatch, caplog):
    library("answer", answer(1))
    first = built(cache)
    monkeypatch.setattr(libraries, "_loaded", {})
    monkeypatch.setattr("halocline.artefacts.store.locked", None)  # nothing is locked, so nothing is written
    assert library("answer", answer(1)).answer() == 1
    assert built(cache) == first
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_no_folder_to_load_from(cache, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/proc/nothing")
    with pytest.raises(KernelError, match=r"loaded from /proc/nothing: .*TMPDIR names another folder\.$"):
        library("answer", answer(1))


def test_nothing_is_left_in_the_folder_for_temporary_files(cache, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    library("answer", answer(1))
    assert not list((tmp_path / "temporary").iterdir())


def test_importing_is_light():
    script = "import sys, halocline.native; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
