"""A finished run and its checkpoint, read only: no room in here trains."""
