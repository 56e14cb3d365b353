"""A run as it happens, and what it writes down. Start reading at `run`."""
