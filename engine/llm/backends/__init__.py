"""Model endpoints behind the Backend door."""
