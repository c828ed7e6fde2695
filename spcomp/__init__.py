"""spcomp: a compiler and a simulator for sparse neural networks."""
