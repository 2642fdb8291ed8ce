"""Everything that talks to a model: the client, its limits, its budget, its endpoints."""
