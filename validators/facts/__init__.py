"""Facts checked against passages: sources of evidence, their ranking, the validator."""
