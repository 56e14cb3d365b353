"""Networks as data: the graph, and what is derived from it without a framework."""
