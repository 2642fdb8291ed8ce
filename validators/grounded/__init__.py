"""Whether an item made from documents is borne out by them: `check`, and the rules that need no model."""
