"""Moves values from stage to stage; has never heard of a language model."""
