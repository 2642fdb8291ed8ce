"""Vectors of texts and their uses: near-duplicates, choice of examples, measures."""

GROUP_CHECK = "groupcheck"
"""The value of `rejected_by` for items that say the same as an accepted one."""
