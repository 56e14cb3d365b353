"""Networks by the names of their weights, without any framework."""
