"""Which batches to ask for, and how: examples, attributes, strategies, feedback."""
