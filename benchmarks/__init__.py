"""How fast, how large, how accurate? Each module prints a table: `python -m benchmarks.<name>`."""
