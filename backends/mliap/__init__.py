"""Models as objects that LAMMPS' pair style ``mliap unified`` calls."""
