"""Finished runs against each other, with intervals and tests on the same pictures."""
