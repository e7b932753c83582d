"""Settings of the whole test run."""

from __future__ import annotations

import torch

# The tests compute on small arrays, on machines with few and busy cores: there, a second thread mostly waits.
torch.set_num_threads(1)
