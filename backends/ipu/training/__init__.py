"""Training of programs: packs of labelled structures, and the fitter that `halocline train` finds."""
