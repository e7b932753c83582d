"""The pair style `halocline` for LAMMPS, which runs models that Halocline exported on any number of ranks."""
