"""Many processes: each holds a domain of the structure, and a driver adds up what they contribute."""
