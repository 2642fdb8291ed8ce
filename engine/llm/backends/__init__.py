"""Model endpoints that implement the Backend protocol."""
