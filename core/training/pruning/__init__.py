"""Pruned models: as a file, or found by fine-tuning one of each size."""
