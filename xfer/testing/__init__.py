"""Public: the conformance suite for backends, its fixtures, a recorder of workflows, and a backend in plain NumPy."""
