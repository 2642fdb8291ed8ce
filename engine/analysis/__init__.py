"""Examines datasets without a run: measures, near-duplicates, thresholds, maps."""
