"""The subjects that the simulated endpoint writes about, and the truth about them."""
