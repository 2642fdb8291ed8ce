"""Measures of a dataset's diversity, from its vectors, its words and its values."""
