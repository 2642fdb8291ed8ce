"""report.html: a run's results as one self-contained page."""
