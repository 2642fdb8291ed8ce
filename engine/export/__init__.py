"""Accepted items handed on: formats, splits, the dataset card."""
