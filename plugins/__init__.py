"""Backbones, pruners and partitioners that come in the box."""
