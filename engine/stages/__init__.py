"""The way of an item: plan, generate, refine, commit."""
