"""Which model is in use, which was, and why? MLflow's registry and the gate before it."""
