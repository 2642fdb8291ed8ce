"""Evaluates models: their answers are requested, scored, judged and compared."""
