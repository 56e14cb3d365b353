"""Data sets: class folders, splits, archives, named sets, copies, and batches of their pictures."""
