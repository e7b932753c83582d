"""Structures from files, evaluated as they come: results into files, and errors against labels."""
