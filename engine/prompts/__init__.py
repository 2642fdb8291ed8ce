"""Builds the prompts for models and parses their replies."""
