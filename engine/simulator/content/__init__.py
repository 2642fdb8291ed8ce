"""What the simulated endpoint writes about, and what is true of it."""
