"""Products of float32 are computed in float32, and the host's leave to round them is given back."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
import torch

from halocline.context import evaluation_context

GPU, CPU = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
HOSTS = {
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "TF32 by its old name": lambda: setattr(GPU, "allow_tf32", True),
    "TF32 by its new name": lambda: setattr(GPU, "fp32_precision", "tf32"),
    "bfloat16 on CPUs": lambda: setattr(CPU, "fp32_precision", "bf16"),
}


@pytest.fixture(autouse=True)
def _put_back():
    yield
    torch.set_float32_matmul_precision("highest")


def state():
    try:
        general = torch.get_float32_matmul_precision()
    except RuntimeError:  # torch's answer where old and new switches contradict each other
        general = None
    return general, GPU.fp32_precision, CPU.fp32_precision


@contextmanager
def allowed(host):
    torch.set_float32_matmul_precision("highest")
    HOSTS[host]()
    yield state()


@pytest.mark.parametrize("host", HOSTS)
def test_nothing_is_rounded_inside_and_everything_is_as_before_outside(host):
    with allowed(host) as before:
        assert before != ("highest", "ieee", "ieee")
        with evaluation_context():
            assert state() == ("highest", "ieee", "ieee")
            with evaluation_context():
                pass
            assert state() == ("highest", "ieee", "ieee")
        assert state() == before
        with pytest.raises(ZeroDivisionError), evaluation_context():
            _ = 1 // 0
        assert state() == before


def test_the_last_thread_to_go_gives_it_back():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with evaluation_context():
            entered.set()
            leave.wait()

    with allowed("medium") as before:
        thread = threading.Thread(target=other)
        with evaluation_context():
            thread.start()
            entered.wait()
        assert state() == ("highest", "ieee", "ieee")
        leave.set()
        thread.join()
        assert state() == before
