"""Recipes x backends x seeds: which way of training is better, and how sure that is."""
