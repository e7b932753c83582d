"""Which backbone does what: a page made from the outcomes of the tests that show it."""
