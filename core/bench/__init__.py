"""Time backends on a model, each measurement in a process of its own."""

from halocline.bench.campaign import Row, measure_all
from halocline.bench.request import Request

__all__ = ["Request", "Row", "measure_all"]
