"""A simulated OpenAI-compatible endpoint: a program that plays a language model, for demos, tests and load."""
