"""What others may see of a run while it goes on: a log file, metrics, traces."""
