"""The journal of a run, and what is written from it."""
