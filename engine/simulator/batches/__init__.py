"""Batch APIs of the simulated endpoint, as their providers play them, with the faults that users report."""
