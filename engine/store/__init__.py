"""The journal of a run, and the files written from it."""
