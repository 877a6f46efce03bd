"""Which setting is better? Grids of trials."""
