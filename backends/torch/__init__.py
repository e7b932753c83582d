"""The eager PyTorch backend."""
