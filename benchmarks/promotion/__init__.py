"""Does the gate let no champion creep down, wear its test set out, or be flattered?

    python -m benchmarks.promotion [--seed N] [--runs N] [--json] [--pictures FOLDER]

Simulated models are put through the code that judges real ones, :mod:`pipeline.registry.gate`'s answer and
:mod:`pipeline.registry.alpha_spending`'s budget, beside three rules that others use: a fixed floor,
`latest >= current`, and McNemar's test against the current champion, which is what this project did before.
"""
