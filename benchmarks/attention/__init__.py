"""EScAIP beside MACE and SchNet of as many parameters: equal fits, dynamics, and how steps scale."""
