"""Moves values from stage to stage; knows nothing about language models."""
