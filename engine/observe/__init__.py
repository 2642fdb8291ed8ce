"""Makes a run observable while it goes on: a log file, metrics, traces."""
