"""Vectors of texts and what follows from them: near-duplicates, choice of examples, measures."""

GROUP_CHECK = "groupcheck"
"""Stands as `rejected_by` for items that say the same as an accepted one."""
