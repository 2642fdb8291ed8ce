"""What a run reports: counts, the report, the live display."""
