"""The base dataset: rows as people have them, read into examples, and items written back the same way."""
