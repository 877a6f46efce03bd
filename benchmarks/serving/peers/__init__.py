"""Other servers' programs around the same model, each as its makers' documentation has it."""
