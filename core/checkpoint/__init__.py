"""Checkpoints: safetensors with config and card in the header."""
