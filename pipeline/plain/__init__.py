"""All that is particular to pictures of anything: shown whole, in grey or in colour."""
