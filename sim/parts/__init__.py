"""Simulated parts. Each is a small package of plain data, one typed class, and inner loops compiled by numba."""
