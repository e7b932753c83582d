"""The backend for Graphcore IPUs: fixed-shape programs, run by PopTorch in an interpreter of its own."""
