"""The exporter interface."""

from halocline.exporter.exporter import Exporter

__all__ = ["Exporter"]
