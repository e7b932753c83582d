"""Checkpoints: safetensors with config, reference energies, card and digest in the header."""

from halocline.checkpoint.checkpoint import Checkpoint
from halocline.checkpoint.header import Header, read_header
from halocline.checkpoint.load import load_checkpoint
from halocline.checkpoint.save import save_checkpoint

__all__ = ["Checkpoint", "Header", "load_checkpoint", "read_header", "save_checkpoint"]
