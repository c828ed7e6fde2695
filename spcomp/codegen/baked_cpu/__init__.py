"""Sparse linear layers baked into straight-line machine code, for many rows of x."""
