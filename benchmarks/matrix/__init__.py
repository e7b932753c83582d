"""The product of backbones, backends, dtypes, divisions and hosts: each of its cells gives the same numbers."""
