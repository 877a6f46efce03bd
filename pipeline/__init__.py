"""WHAT each step does: one module a stage, in dvc.yaml's order, then the few rooms they share."""
