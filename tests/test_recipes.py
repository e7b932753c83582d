"""The recipes of the documentation run as they are written."""

import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read

import halocline

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")

#: Seconds for a server to open its socket.
PATIENCE = 60.0

#: What the hartree of i-PI and that of ASE, by which energies go through the socket, may differ by.
UNITS = 2e-7

#: eV, of 768 beads in 12.5 fs: the thermostat's account is as exact as its steps of 0.25 fs.
CONSERVED = 0.2


#: eV per atom, of relaxations until no force is above 1e-3 eV/Å: second order in the distance from the minimum.
RELAXED = 1e-6

#: GPa, of elastic constants that symmetry says are equal: what strains of 0.4 % and fits leave of 2 to 4 GPa.
ELASTIC = 0.02


def needs(module):
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


def blocks(language, heading):
    """The code under a heading of the page."""
    section = next(part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE) if part.startswith(heading))
    return re.findall(rf"^```{language}\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@needs("ipi")
def test_path_integrals_of_water(tmp_path):
    (tmp_path / "water.extxyz").write_bytes((ROOT / "examples" / "water.extxyz").read_bytes())
    address = f"halocline-{tmp_path.parent.name}-{time.monotonic_ns()}"
    (xml,), (driver,) = blocks("xml", "i-PI"), blocks("python", "i-PI")
    (tmp_path / "input.xml").write_text(xml.replace("> halocline <", f"> {address} <"))
    command = [str(Path(sys.executable).with_name("i-pi")), "input.xml"]
    with (tmp_path / "said").open("w") as said:
        server = subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=subprocess.STDOUT)
        try:
            _wait(Path(f"/tmp/ipi_{address}"), server, tmp_path / "said")
            script = driver.replace('unixsocket="halocline"', f'unixsocket="{address}"')
            subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=300)
            assert server.wait(timeout=60) == 0
        finally:
            server.kill()
    _, _, conserved, temperature, energy = np.loadtxt(tmp_path / "water.out").T
    atoms = read(tmp_path / "water.extxyz")
    first = halocline.load("water-revpbe0d3-schnet")(atoms, compress=True)
    assert energy[0] == pytest.approx(first.energy, rel=UNITS)
    assert len(energy) == 11
    assert np.ptp(conserved) < CONSERVED < np.ptp(energy)
    assert temperature.min() > 100


def numbers(said):
    return np.array(re.findall(r"-?\d+\.[\d.e+-]*", said), float)


def per_atom(volume):
    """eV per atom of the shipped argon as an fcc crystal of so many Å³ for each."""
    potential = halocline.load("lennard-jones-argon")
    return potential(bulk("Ar", "fcc", a=(4 * volume) ** (1 / 3)), dtype="float64").energy


def require_minimum(energy, volume):
    """See that a volume is where the energy is least, and the energy that of it."""
    assert energy == pytest.approx(per_atom(volume), abs=RELAXED)
    assert per_atom(volume) < min(per_atom(0.99 * volume), per_atom(1.01 * volume))


@pytest.mark.slow
def test_a_model_behind_the_socket_of_ase(tmp_path):
    address = f"halocline-{tmp_path.parent.name}-{time.monotonic_ns()}"
    server, client = (
        code.replace('unixsocket="halocline"', f'unixsocket="{address}"') for code in blocks("python", "ASE")
    )
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen([sys.executable, "-c", server], cwd=tmp_path, stdout=said, stderr=said)
        try:
            _wait(Path(f"/tmp/ipi_{address}"), process, tmp_path / "said")
            subprocess.run([sys.executable, "-c", client], cwd=tmp_path, check=True, timeout=300)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
    require_minimum(*numbers((tmp_path / "said").read_text().splitlines()[-1]))


def _wait(socket, server, said):
    deadline = time.monotonic() + PATIENCE
    while not socket.exists():
        assert server.poll() is None, said.read_text()
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.2)


@needs("phonopy")
def test_phonons_of_argon(tmp_path):
    (script,) = blocks("python", "phonopy")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    sound, edge = numbers(done.stdout).reshape(2, 3)
    np.testing.assert_allclose(sound, 0, atol=1e-3)
    assert edge[0] == pytest.approx(edge[1], abs=1e-3)  # both transverse modes at X are one by symmetry
    assert 0.1 < edge[1] < edge[2]


@pytest.mark.slow
@needs("matcalc")
def test_elastic_constants_of_argon(tmp_path):
    (script,) = blocks("python", "matcalc")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    axial, across, shear, modulus = numbers(done.stdout)
    assert across == pytest.approx(shear, abs=ELASTIC)  # Cauchy's relation, of central forces without pressure
    assert (axial + 2 * across) / 3 == pytest.approx(modulus, abs=2 * ELASTIC)
    assert axial > across > 1


@pytest.mark.slow
@needs("quacc")
def test_a_job_of_quacc(tmp_path):
    (script,) = blocks("python", "quacc")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "True" in done.stdout
    energy, volume = numbers(done.stdout.splitlines()[-1])
    require_minimum(energy / 4, volume / 4)
