"""What an executor runs: tensors in, tensors out."""
