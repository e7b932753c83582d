"""What an executor can do, and the precisions that there are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self, final

import torch

from halocline.aggregation import Form


class Precision(StrEnum):
    """Floating-point types that a model can be frozen in."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def torch(self) -> torch.dtype:
        """The torch dtype of this name."""
        return torch.float64 if self is Precision.FLOAT64 else torch.float32


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an executor can do.

    Attributes:
        devices: kinds of device it can run on, such as ``cpu`` and ``cuda``.
        precisions: floating-point types it computes in.
        form: layout of edges that it wants its inputs in.
        many_structures: whether one call of a whole program may be given several structures side by side, with no
            edge from one to another. Those that do not say so are given one structure after another.
        shape_by_shape: whether each shape of inputs has a program of its own, which takes long to prepare: several
            structures are then padded to a few shapes.
        steps_on_device: whether whole steps, from positions to forces, may stay on its device.
        custom_operators: whether it runs operators that plugins have registered with torch. For those that do not
            say so, lowering puts the definitions of such operators in their place.
        kernels: whether faster stages may take the place of plain ones.
    """

    devices: tuple[str, ...]
    precisions: tuple[Precision, ...]
    form: Form
    many_structures: bool = False
    shape_by_shape: bool = False
    steps_on_device: bool = False
    custom_operators: bool = False
    kernels: bool = True

    @classmethod
    def reference(cls, form: Form, *, kernels: bool = False) -> Self:
        """The capabilities of the definition itself, which all is held against: no stage of it is replaced.

        Args:
            form: layout of edges.
            kernels: let stages be replaced nevertheless, by others of plain operations.
        """
        precisions = tuple(Precision)
        return cls(devices=("cpu", "cuda"), precisions=precisions, form=form, kernels=kernels)
