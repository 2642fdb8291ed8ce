"""What a run tells: counts, the report, the live display."""
