"""Checkpoints: safetensors with config, reference energies, card and digest in the header."""

from halocline.checkpoint.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from halocline.checkpoint.header import Header, read_header

__all__ = ["Checkpoint", "Header", "load_checkpoint", "read_header", "save_checkpoint"]
