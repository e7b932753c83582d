"""The model zoo: index, store and the checkpoints that ship."""
