"""Datasets examined without a run: measures, near-duplicates, thresholds, maps."""
