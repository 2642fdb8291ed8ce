"""Rows out of files as they come: where they lie, how they are packed, encoded and written."""
