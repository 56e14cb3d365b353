"""The command line: the only room that prints, and that chooses exit codes."""
