"""Benchmarks: ``python -m benchmarks.<name>``. Each prints figures beside targets and ends with one JSON line."""
