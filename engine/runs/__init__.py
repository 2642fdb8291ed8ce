"""The parts of a run, and how it is started, driven and ended."""
