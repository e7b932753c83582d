"""Whether molecular dynamics with a model holds, from a set of starts."""
