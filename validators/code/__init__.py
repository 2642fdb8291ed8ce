"""Checks labels by running programs: the sandbox, the comparison of answers, the validator."""
