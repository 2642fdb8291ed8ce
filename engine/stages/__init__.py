"""The stages that an item passes through: plan, generate, refine, commit."""
