"""Rows of bad input for test_bad_input.py, a file for each theme; what they share is in shared.py.

A row is a function of an empty folder, which is the current one. It makes its input there, by relative paths, and gives
the words of a command, in which RUN stands for the folder of a finished run.
"""
