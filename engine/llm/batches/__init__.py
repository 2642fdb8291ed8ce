"""Calls that travel in batches: the providers' APIs, the files that they take, the way of a batch through a night."""
