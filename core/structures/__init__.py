"""Structure files: what is read from them, what is refused, and what is written."""
