"""Settings of the whole test run."""

from __future__ import annotations

import signal

import torch

# The tests compute on small arrays, on machines with few and busy cores: there, a second thread mostly waits.
torch.set_num_threads(1)

# A shell lets its background jobs ignore SIGINT, and so would the processes that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
