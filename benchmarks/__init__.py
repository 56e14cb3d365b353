"""Measurements side by side: ratios of medians, taken in turns in one run. `make bench` runs them all."""
