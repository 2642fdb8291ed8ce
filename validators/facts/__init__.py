"""Checks facts against passages: sources of evidence, ranking of passages, the validator."""
