"""Named data sets: where their bytes come from, how they are verified and decoded."""
