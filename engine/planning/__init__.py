"""Plans which batches to request, and how: examples, attributes, strategies, feedback."""
