"""The base dataset: reads rows in the users' own format into examples, and writes items in that format."""
