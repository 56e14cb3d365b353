"""A run or an exported model behind HTTP: one thread computes, in batches of whatever waits."""
