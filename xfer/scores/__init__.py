"""Figures of a classifier on labelled pictures, with intervals: from labels and class probabilities alone."""
