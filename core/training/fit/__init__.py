"""The fit itself: what is minimised, how steps are taken, and which weights become the model."""
