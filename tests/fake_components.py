"""Backends that go wrong, each in its own way, and an exporter that writes next to nothing."""

import json
import os
import signal
import time

import torch

from halocline.aggregation import Form
from halocline.errors import UsageError
from halocline.executor import Capabilities, Diagnosis, Executor, Session
from halocline.exporter import Exporter
from halocline.files import write_atomically
from halocline.lowering import Manifest, Value
from halocline.program import FrozenModel, Precision, ProgramOutputs, energies_and_gradients


class _EagerSession(Session):
    def __init__(self, backbone, distort):
        self._backbone, self._distort, self._calls = backbone, distort, 0

    def __call__(self, inputs):
        self._calls += 1
        outputs = energies_and_gradients(self._backbone, inputs)
        return ProgramOutputs(outputs.energies, self._distort(outputs.gradients, self._calls))


class SoundExecutor(Executor):
    """Eager; the others are like it but for one thing."""

    capabilities = Capabilities(devices=("cpu",), precisions=(Precision.FLOAT64,), form=Form.EDGES)
    variants = ("", "speed=2", "speed=9")

    def __init__(self, device="auto", speed: int = 1):
        if device not in ("auto", "cpu"):
            raise UsageError(f"There is no device {device!r}.")
        if speed > 2:
            raise UsageError("This machine has no speed above 2.")
        self.device = "cpu"

    @classmethod
    def diagnose(cls):
        return Diagnosis(usable=True, versions={"fake": "1.0"}, devices=("cpu",), details={"kernels": "eager"})

    def prepare(self, frozen):
        return _EagerSession(frozen.backbone, self.distort)

    @staticmethod
    def distort(gradients, calls):
        return gradients


class AbsentExecutor(SoundExecutor):
    variants = ("",)

    def __init__(self, device="auto"):
        raise UsageError(self.diagnose().reason)

    @classmethod
    def diagnose(cls):
        return Diagnosis(usable=False, reason="The package fake-runtime is missing: pip install fake-runtime.")


class WrongExecutor(SoundExecutor):
    @staticmethod
    def distort(gradients, calls):
        return gradients * (1.0 + 1e-6)


class RacingExecutor(SoundExecutor):
    """Wrong at every fifth call only."""

    @staticmethod
    def distort(gradients, calls):
        return gradients * (1.0 if calls % 5 else 1.001)


class NotANumberExecutor(SoundExecutor):
    @staticmethod
    def distort(gradients, calls):
        return gradients * torch.nan


class CrashingExecutor(SoundExecutor):
    @staticmethod
    def distort(gradients, calls):
        os.kill(os.getpid(), signal.SIGSEGV)


class HangingExecutor(SoundExecutor):
    variants = ("", "seconds=600")

    def __init__(self, device="auto", seconds: int = 0):
        super().__init__(device)
        time.sleep(seconds)


class LeavingExecutor(SoundExecutor):
    def prepare(self, frozen):
        os._exit(0)


class RaisingExecutor(SoundExecutor):
    @classmethod
    def diagnose(cls):
        raise OSError("libfake.so.2: cannot open shared object file")


class TextExporter(Exporter):
    suffix = ".txt"

    def __init__(self, words: int = 1):
        self._words = words

    def export(self, potential, precision, path):
        frozen = FrozenModel.freeze(potential.backbone, precision, Capabilities.reference(Form.TABLE))
        inputs = (Value("positions", "float64", ("n", 3), "Å", "of the atoms"),)
        outputs = (Value("energy", "float64", (), "eV", "of all atoms"),)
        manifest = Manifest.of(frozen, "structure", inputs, outputs)
        write_atomically(path, (json.dumps(manifest.to_json()) + "word " * self._words).encode())
        return manifest


class AbsentExporter(Exporter):
    suffix = ".txt"

    def __init__(self):
        raise UsageError("The package fake-runtime is missing: pip install fake-runtime.")

    def export(self, potential, precision, path):
        raise AssertionError("never made")
