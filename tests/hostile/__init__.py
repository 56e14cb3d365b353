"""Hostile input for the command line, a module for each sort: `tests/sweep.py` makes calls of it."""
