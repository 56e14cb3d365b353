"""Figures: what is to be seen of a run, drawn without a display."""
