"""Exports accepted items: formats, splits, the dataset card."""
