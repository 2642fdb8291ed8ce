"""Runs in a browser: pages about items, prompts and figures, and the server that gives them to one person."""
