"""Springs between neighbours, as a plugin for Halocline."""
