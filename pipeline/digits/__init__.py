"""All that is particular to pictures of one digit."""
