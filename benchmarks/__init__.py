"""Benchmarks: ``python -m benchmarks.<name>``. Each prints its figures beside their targets and ends with one JSON line."""
