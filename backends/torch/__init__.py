"""The PyTorch backend: eager, by torch.compile, or as packages compiled ahead of time."""
