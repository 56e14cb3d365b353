"""The command line: the only room that prints results, and that chooses exit codes."""
